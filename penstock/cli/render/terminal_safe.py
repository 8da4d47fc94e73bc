"""Terminal-safe text: no character moves the cursor, changes colours or sets the title."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Final, TypeVar

import msgspec

__all__ = ["all_visible", "as_ascii_json", "visible"]

T = TypeVar("T")

_JOINERS: Final = "\u200c\u200d"
"""The zero-width joiners, which some scripts and emoji need."""
_OUTSIDE_ASCII: Final = re.compile(r"[^ -~]")
_BLANKS: Final = str.maketrans("\t\n\r", "   ")
_ONE_UNIT: Final = 0x10000


def visible(text: str, *, lines: bool = False) -> str:
    r"""`text` with every unprintable character escaped (`\x1b`), C1 controls and bidirectional controls included.

    With `lines`, line ends, tabs, all kinds of blanks and the zero-width joiners are kept.
    """
    if lines:
        text = text.replace("\r\n", "\n")
    return "".join(
        letter if letter.isprintable() or (lines and _belongs_to_text(letter)) else _escape(letter)
        for letter in text
    )


def all_visible(value: T) -> T:
    """The same struct with every string in it `visible`."""
    return msgspec.convert(_each_visible(msgspec.to_builtins(value)), type(value))


def as_ascii_json(value: object, *, indented: bool = False) -> str:
    """JSON in ASCII, every other character escaped; on one line, or indented for a person."""
    line = _ascii_line(value)
    return msgspec.json.format(line, indent=2) if indented else line


def _ascii_line(value: object) -> str:
    text = msgspec.json.encode(value).decode(errors="replace")
    # Raw JSON that is passed through may contain line ends between its parts, and nowhere else.
    return _OUTSIDE_ASCII.sub(lambda match: json.dumps(match[0])[1:-1], text.translate(_BLANKS))


def _belongs_to_text(letter: str) -> bool:
    return letter in "\n\t" or letter in _JOINERS or unicodedata.category(letter) == "Zs"


def _each_visible(value: object) -> object:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {_each_visible(name): _each_visible(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_each_visible(each) for each in value]
    return value


def _escape(letter: str) -> str:
    code = ord(letter)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < _ONE_UNIT else f"\\U{code:08x}"
