"""Long texts in slices, so that the memory of a search is bounded; each finding belongs to the slice it begins in."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Final

from services.guard.detectors.detector import Match
from services.guard.matching.encoded_text import EncodedText
from services.guard.matching.overlaps import Found, without_overlaps

__all__ = ["search_in_slices"]

_SLICE_CHARACTERS: Final = 48 * 1024
"""Characters whose findings one search reports. kingfisher takes more time per KB for texts of more than 64 KB in which
a block is opened again and again."""
_BEFORE_CHARACTERS: Final = 512
"""Characters before them: the context that a finding may need, and more than the longest number."""
_AFTER_CHARACTERS: Final = 14_500
"""Characters after them: more than the longest finding, a private key of 16,384 bits."""


_Find = Callable[[EncodedText], Iterable[Found | None]]
"""A search: its findings, and None after a step without one."""
_Steps = Generator[None, None, list[Found]]


def search_in_slices(whole: str, find: _Find) -> Iterator[Match | None]:
    """The findings of `find` in a text of any length, without overlaps, in the order of their places; before them None
    for each step of the search.
    """
    if len(whole) <= _SLICE_CHARACTERS + _AFTER_CHARACTERS:
        found = yield from _in_characters(EncodedText(whole), find)
    else:
        found = []
        for start in range(0, len(whole), _SLICE_CHARACTERS):
            found += yield from _slice(whole, start, find)
        found = without_overlaps(found)
    for each in found:
        yield Match(each.start, each.end, each.kind)


def _slice(whole: str, start: int, find: _Find) -> _Steps:
    first = max(0, start - _BEFORE_CHARACTERS)
    found = yield from _in_characters(
        EncodedText(whole[first : start + _SLICE_CHARACTERS + _AFTER_CHARACTERS]), find
    )
    return [
        Found(first + each.start, first + each.end, each.kind, each.rank)
        for each in found
        if start <= first + each.start < start + _SLICE_CHARACTERS
    ]


def _in_characters(text: EncodedText, find: _Find) -> _Steps:
    candidates: list[Found] = []
    for each in find(text):
        if each is not None:
            candidates.append(each)
        yield
    found = without_overlaps(candidates)
    if not found:
        return found
    offsets = text.character_offsets(place for each in found for place in (each.start, each.end))
    return [Found(offsets[each.start], offsets[each.end], each.kind, each.rank) for each in found]
