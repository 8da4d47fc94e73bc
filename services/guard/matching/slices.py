"""Long texts in slices, so that the memory of a search is bounded; each finding belongs to the slice it begins in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from services.guard.detectors.detector import Match
from services.guard.matching.encoded_text import EncodedText
from services.guard.matching.overlaps import Found, without_overlaps

__all__ = ["find_in_slices"]

_SLICE_CHARACTERS: Final = 48 * 1024
"""Characters whose findings one search reports. kingfisher takes more time per KB for texts of more than 64 KB in which
a block is opened again and again."""
_BEFORE_CHARACTERS: Final = 512
"""Characters before them: the context that a finding may need, and more than the longest number."""
_AFTER_CHARACTERS: Final = 14_500
"""Characters after them: more than the longest finding, a private key of 16,384 bits."""


def find_in_slices(whole: str, find: Callable[[EncodedText], Iterable[Found]]) -> Sequence[Match]:
    """The findings of `find` in a text of any length, without overlaps, in the order of their places."""
    if len(whole) <= _SLICE_CHARACTERS + _AFTER_CHARACTERS:
        found = _in_characters(EncodedText(whole), find)
    else:
        found = [
            each for start in range(0, len(whole), _SLICE_CHARACTERS) for each in _slice(whole, start, find)
        ]
        found = without_overlaps(found)
    return [Match(each.start, each.end, each.kind) for each in found]


def _slice(whole: str, start: int, find: Callable[[EncodedText], Iterable[Found]]) -> Iterator[Found]:
    first = max(0, start - _BEFORE_CHARACTERS)
    for each in _in_characters(
        EncodedText(whole[first : start + _SLICE_CHARACTERS + _AFTER_CHARACTERS]), find
    ):
        if start <= first + each.start < start + _SLICE_CHARACTERS:
            yield Found(first + each.start, first + each.end, each.kind, each.rank)


def _in_characters(text: EncodedText, find: Callable[[EncodedText], Iterable[Found]]) -> list[Found]:
    found = without_overlaps(find(text))
    if not found:
        return found
    offsets = text.character_offsets(place for each in found for place in (each.start, each.end))
    return [Found(offsets[each.start], offsets[each.end], each.kind, each.rank) for each in found]
