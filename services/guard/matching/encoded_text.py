"""A text as UTF-8, in which RE2 and the secret scanner search, and its offsets as characters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from penstock.contract.guard.checks import CONTEXT_CHARACTERS

__all__ = ["MOST_BEFORE_CHARACTERS", "EncodedText"]

MOST_BEFORE_CHARACTERS: Final = CONTEXT_CHARACTERS - 8
"""Characters before a place that may decide whether it is a finding: somewhat fewer than a sender gives as context."""
_BYTES_PER_CHARACTER: Final = 4


class EncodedText:
    """A text and its bytes; places in it are byte offsets, each at the boundary of a character."""

    __slots__ = ("_characters", "data")

    def __init__(self, text: str) -> None:
        self.data = text.encode("utf-8", "replace")  # a lone surrogate becomes "?": one character as well
        self._characters = len(text)

    def __getitem__(self, place: slice) -> str:
        return self.data[place].decode()

    def before(self, at: int, characters: int = MOST_BEFORE_CHARACTERS) -> str:
        """Up to so many characters before a place."""
        found = self.data[max(0, at - _BYTES_PER_CHARACTER * characters) : at].decode("utf-8", "ignore")
        return found[-characters:]

    def before_as_bytes(self, at: int, characters: int) -> bytes:
        if len(self.data) == self._characters:
            return self.data[max(0, at - characters) : at]
        return self.before(at, characters).encode()

    def character_before(self, at: int) -> str:
        """The character before a place; empty at the beginning."""
        return self.before(at, 1)

    def after(self, at: int, characters: int) -> str:
        """Up to so many characters from a place on."""
        return self.data[at : at + _BYTES_PER_CHARACTER * characters].decode("utf-8", "ignore")[:characters]

    def boundary(self, at: int) -> int:
        """The beginning of the character at or after a byte offset; 0 if it is negative."""
        at = max(0, at)
        while at < len(self.data) and self.data[at] & 0xC0 == 0x80:
            at += 1
        return at

    def character_offsets(self, places: Iterable[int]) -> dict[int, int]:
        """Byte offsets as character offsets, in one pass over the text."""
        if len(self.data) == self._characters:
            return {place: place for place in places}
        offsets: dict[int, int] = {}
        reached = characters = 0
        for place in sorted(set(places)):
            characters += len(self.data[reached:place].decode("utf-8", "ignore"))
            offsets[place] = characters
            reached = place
        return offsets
