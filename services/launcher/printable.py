"""Text from elsewhere, made fit for a terminal: nothing in it moves the cursor, recolours or retitles anything."""

from __future__ import annotations

import json

import msgspec

__all__ = ["as_ascii_json", "visible"]


def visible(text: str, *, lines: bool = False) -> str:
    r"""`text` with all that is not printable written out (`\x1b`), the control characters of C1 and those that turn
    the direction of writing included; with `lines`, line ends and tabs stay.
    """
    kept = "\n\t" if lines else ""
    return "".join(letter if letter.isprintable() or letter in kept else _written(letter) for letter in text)


def as_ascii_json(value: object) -> str:
    """JSON of one line in ASCII: whatever a string holds is escaped."""
    return json.dumps(msgspec.to_builtins(value))


def _written(letter: str) -> str:
    code = ord(letter)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
