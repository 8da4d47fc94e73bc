r"""Escape sequences of JSON and of string literals (`\n`, `\"`, `\u0040`), and texts with the characters they mean.

Text in text is escaped several times (`\\n`, `\\\"`): a run of backslashes belongs to the sequence that it ends in.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from typing import Final

__all__ = ["Unescaped"]

_ESCAPE: Final = re.compile(
    r"(?<!\\)(?:\\(?:\\\\)*+[\"']|\\++(?:[/bfnrt]|u[dD][89abAB][0-9a-fA-F]{2}\\++u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}))"
)
"""One sequence, surrogate pairs included. A quote after an even number of backslashes is not escaped.

Linear: a run of backslashes is read from its beginning only.
"""
_CONTROLS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_SHORT: Final = {f"\\{letter}": control for letter, control in _CONTROLS.items()} | {'\\"': '"'}


class Unescaped:
    """A text with escape sequences, as it reads without them, and its places."""

    __slots__ = ("_ends", "_starts", "_view_ends", "text")

    def __init__(self, escaped: str) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._view_ends: list[int] = []
        parts: list[str] = []
        done = taken = 0
        for found in _ESCAPE.finditer(escaped):
            start, end = found.span()
            sequence = found[0]
            parts += (escaped[done:start], _SHORT.get(sequence) or _character_of(sequence))
            done = end
            taken += end - start - 1
            self._starts.append(start)
            self._ends.append(end)
            self._view_ends.append(end - taken)
        parts.append(escaped[done:])
        self.text = "".join(parts)

    def __len__(self) -> int:
        """How many sequences there are."""
        return len(self._starts)

    def place(self, at: int) -> int:
        """The place in the escaped text of one in `text`: never inside a sequence."""
        index = bisect_right(self._view_ends, at) - 1
        return at if index < 0 else self._ends[index] + at - self._view_ends[index]

    def widened(self, start: int, end: int) -> tuple[int, int]:
        """A span of the escaped text, with the whole of the sequences in which it begins and ends."""
        first, last = self._around(start), self._around(end)
        return (start if first is None else self._starts[first]), (end if last is None else self._ends[last])

    def _around(self, at: int) -> int | None:
        """The sequence that has a character before and one after this place of the escaped text."""
        index = bisect_left(self._starts, at) - 1
        return index if index >= 0 and at < self._ends[index] else None


def _character_of(sequence: str) -> str:
    """The character that an escape sequence stands for."""
    rest = sequence.lstrip("\\")
    if rest[0] not in "ux" or len(rest) == 1:
        return _CONTROLS.get(rest, rest)
    if len(rest) <= 5:
        return chr(int(rest[1:], 16))
    high, low = int(rest[1:5], 16), int(rest[-4:], 16)
    return chr(0x10000 + ((high - 0xD800) << 10) + low - 0xDC00)
