"""What stands around a number: the words before it, and whether it is a part of something longer."""

from __future__ import annotations

import re
from typing import Final

from services.guard.matching.encoded_text import CONTEXT
from services.guard.matching.patterns import Place

__all__ = ["Words", "stands_alone"]

_NEAR: Final = 1_000
"""The rank of a finding that is named by the word directly before it; each character between them takes one."""
_JOINING: Final = frozenset("_/\\@#$%&=~^*+")
_INSIDE: Final = frozenset(".-:,")


class Words:
    """Words that name a kind of number, or that exclude it, searched in the text before a number."""

    def __init__(self, words: str, characters: int = CONTEXT) -> None:
        self._last = re.compile(rf".*(?:{words})", re.IGNORECASE | re.DOTALL)
        self._characters = characters

    def rank(self, place: Place) -> int:
        """0 if no such word stands before the place; the more, the nearer it is."""
        before = place.text.before(place.start, self._characters)
        last = self._last.match(before)
        return 0 if last is None else _NEAR - (len(before) - last.end())

    def precede(self, place: Place) -> bool:
        return self._last.match(place.text.before(place.start, self._characters)) is not None


def stands_alone(place: Place, *, joining: frozenset[str] = _JOINING - frozenset("#=*+$")) -> bool:
    """Whether a number is no part of an identifier, a path, a decimal, a date or a longer number."""
    before = place.text.before(place.start, 2)
    if before and not _separates(before[-1], before[:-1], joining):
        return False
    after = place.text.after(place.end, 2)
    return not after or _separates(after[0], after[1:], joining)


def _separates(neighbour: str, beyond: str, joining: frozenset[str]) -> bool:
    if neighbour.isascii() and neighbour.isalnum():
        return False
    if neighbour in joining:
        return False
    return neighbour not in _INSIDE or not (beyond.isascii() and beyond.isalnum())
