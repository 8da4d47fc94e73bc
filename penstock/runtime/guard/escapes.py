r"""Escape sequences of JSON and of string literals (`\n`, `\"`, `\u0040`), and texts with the characters they mean.

Text in text is escaped several times (`\\n`, `\\\"`): a run of backslashes belongs to the sequence that it ends in.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from typing import Final

__all__ = ["EscapeReader", "Unescaped"]

_RUN: Final = r"(?<!\\)\\{1,16}+"
_HEX: Final = "[0-9a-fA-F]"
_HIGH: Final = rf"u[dD][89abAB]{_HEX}{{2}}"
_ESCAPE: Final = re.compile(
    rf"(?<!\\)\\(?:\\\\){{0,7}}+[\"']|{_RUN}(?:[/bfnrt]|{_HIGH}\\{{1,16}}+u[dD][c-fC-F]{_HEX}{{2}}|u{_HEX}{{4}}|x{_HEX}{{2}})"
)
"""One sequence, surrogate pairs included. A quote after an even number of backslashes is not escaped.

Longer runs of backslashes, for text that is quoted more than four times, are not read.
"""
_BEGUN: Final = re.compile(
    rf"{_RUN}(?:u{_HEX}{{0,3}}|{_HIGH}(?:\\{{0,16}}|\\{{1,16}}u(?:[dD](?:[c-fC-F]{_HEX}?)?)?)|x{_HEX}?)?\Z"
)
"""What may become a sequence, or a longer one, with the text after it."""
_LONGEST_BEGUN: Final = 48
_CONTROLS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_SHORT: Final = {f"\\{letter}": control for letter, control in _CONTROLS.items()} | {'\\"': '"'}


class Unescaped:
    """A text with escape sequences, as it reads without them, and its places."""

    __slots__ = ("_ends", "_starts", "_view_ends", "text")

    def __init__(self, escaped: str, *, controls: bool = True) -> None:
        r"""Without `controls`, those of control characters stay as they are written: `\n` of `C:\new` is none."""
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._view_ends: list[int] = []
        parts: list[str] = []
        done = taken = 0
        for found in _ESCAPE.finditer(escaped):
            start, end = found.span()
            sequence = found[0]
            if not controls and sequence.lstrip("\\") in _CONTROLS:
                continue
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

    def cut_at(self, at: int) -> tuple[int, int] | None:
        """The sequence of the escaped text that has a character before this place and one after it."""
        index = bisect_left(self._starts, at) - 1
        return (self._starts[index], self._ends[index]) if index >= 0 and at < self._ends[index] else None

    def any_within(self, start: int, end: int) -> bool:
        """Whether a span of the escaped text has a whole sequence."""
        index = bisect_left(self._starts, start)
        return index < len(self._ends) and self._ends[index] <= end


class EscapeReader:
    """The same for a text that comes in chunks, cut anywhere: what was read, and how its characters were written.

    Places count from the end of what was `passed`, and are negative before it.
    """

    __slots__ = ("_after_backslash", "_kept", "_passed", "_sequences", "active", "begun")

    def __init__(self, kept: int) -> None:
        """`kept`: the characters before the end of what was passed whose sequences are kept."""
        self._kept = kept
        self.begun = ""
        """The end of the text, which may be the beginning of a sequence."""
        self._after_backslash = False
        """The text ended in backslashes that belong to no sequence, as those do with which it goes on."""
        self._passed = 0
        self._sequences: list[tuple[int, str]] = []
        """Places from the beginning of the text."""
        self.active = False
        """Whether a sequence is kept or has begun. If not, a text without backslashes need not be read."""

    def read(self, chunk: str, at: int) -> str:
        """What is certain of the text so far. `at`: the place of its first character."""
        if not self.begun and "\\" not in chunk:
            self._after_backslash = self._after_backslash and not chunk
            return chunk
        return self._read(chunk, at, final=False)

    def rest(self, at: int) -> str:
        """What is left, after the last chunk."""
        return self._read("", at, final=True) if self.begun else ""

    def written(self, text: str, at: int) -> str:
        """A part of what was read, from the place `at` on, as it was written."""
        sequences = self._sequences
        start = at + self._passed
        if not sequences or sequences[-1][0] < start:
            return text
        first = bisect_left(sequences, (start,))
        last = bisect_left(sequences, (start + len(text),), first)
        parts: list[str] = []
        done = 0
        for place, sequence in sequences[first:last]:
            parts += (text[done : place - start], sequence)
            done = place - start + 1
        return "".join((*parts, text[done:])) if done else text

    def passed(self, characters: int) -> None:
        """So many characters more are done with."""
        self._passed += characters
        sequences, kept = self._sequences, self._passed - self._kept
        if sequences and sequences[0][0] < kept:
            del sequences[: bisect_left(sequences, (kept,))]
        self.active = bool(sequences or self.begun or self._after_backslash)

    def _read(self, chunk: str, at: int, *, final: bool) -> str:
        first = int(self._after_backslash)
        text = "\\" * first + self.begun + chunk
        begun = None if final else _BEGUN.search(text, max(first, len(text) - _LONGEST_BEGUN))
        end = len(text) if begun is None else begun.start()
        self.begun = text[end:]
        parts: list[str] = []
        done, place = first, at + self._passed
        for found in _ESCAPE.finditer(text, first, end):
            start, sequence = found.start(), found[0]
            parts += (text[done:start], _SHORT.get(sequence) or _character_of(sequence))
            place += start - done
            self._sequences.append((place, sequence))
            place += 1
            done = found.end()
        parts.append(text[done:end])
        self._after_backslash = done < end and text[end - 1] == "\\"
        self.active = True
        return "".join(parts)


def _character_of(sequence: str) -> str:
    """The character that an escape sequence stands for."""
    rest = sequence.lstrip("\\")
    if rest[0] not in "ux" or len(rest) == 1:
        return _CONTROLS.get(rest, rest)
    if len(rest) <= 5:
        return chr(int(rest[1:], 16))
    high, low = int(rest[1:5], 16), int(rest[-4:], 16)
    return chr(0x10000 + ((high - 0xD800) << 10) + low - 0xDC00)
