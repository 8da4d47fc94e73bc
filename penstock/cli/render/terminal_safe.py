"""Text from elsewhere, made fit for a terminal: nothing in it moves the cursor, recolours or retitles anything."""

from __future__ import annotations

import re
import unicodedata
from typing import Final, TypeVar

import msgspec

__all__ = ["as_ascii_json", "shown", "visible"]

T = TypeVar("T")

_JOINERS: Final = "\u200c\u200d"
"""Without them the letters of some scripts, and some emoji, fall apart."""
_OUTSIDE_ASCII: Final = re.compile(r"[^ -~]")
_BLANKS: Final = str.maketrans("\t\n\r", "   ")
_ONE_UNIT: Final = 0x10000


def visible(text: str, *, lines: bool = False) -> str:
    r"""`text` with all that is not printable written out (`\x1b`), the control characters of C1 and those that turn
    the direction of writing included. With `lines` it is kept as it was written otherwise: line ends, tabs, every kind
    of blank, and what joins letters stay.
    """
    if lines:
        text = text.replace("\r\n", "\n")
    return "".join(
        letter if letter.isprintable() or (lines and _belongs_to_text(letter)) else _written(letter)
        for letter in text
    )


def shown(value: T) -> T:
    """The same struct with every string in it `visible`."""
    return msgspec.convert(_each_visible(msgspec.to_builtins(value)), type(value))


def as_ascii_json(value: object) -> str:
    """JSON of one line in ASCII: whatever a string holds is escaped."""
    text = msgspec.json.encode(value).decode(errors="replace")
    # A body that is passed through as it came may have line ends between its parts, and nowhere else.
    return _OUTSIDE_ASCII.sub(_escaped, text.translate(_BLANKS))


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


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < _ONE_UNIT:
        return f"\\u{code:04x}"
    above = code - _ONE_UNIT
    return f"\\u{0xD800 + (above >> 10):04x}\\u{0xDC00 + (above & 0x3FF):04x}"


def _written(letter: str) -> str:
    code = ord(letter)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < _ONE_UNIT else f"\\U{code:08x}"
