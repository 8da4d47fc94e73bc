"""Cuts a text where its own content says so, before chunks are made.

A splitter that fills one chunk after the other from the beginning moves all of them when a word is inserted. Here every
section begins at a place that is chosen by the text around it, so that a change moves only the chunks near it; and no
splitter sees more than a few thousand characters at once, on which each of them is fast, whatever they are.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

from msgspec import Struct

from services.indexer.chunking.headings import HeadingPath
from services.indexer.chunking.scanning import matches
from services.indexer.chunking.settings import ChunkSettings
from services.indexer.documents.document import Heading

__all__ = ["Section", "sections", "stretches"]

_MOST_CHUNKS: Final = 8
"""A stretch of text without headings is at most as long as so many chunks."""
_REACH_CHUNKS: Final = 2
"""A cut depends on the text so many chunks before and behind it. Stretches are at least as long, except beside a long
run of blanks."""
_LEAST_CHUNKS: Final = 4
"""The least length in text that repeats itself."""
_ACROSS_LEVELS: Final = 4
"""A section that ends at a higher heading is joined with the next one only below this part of `smallest_section`."""
_BLANKS: Final = re.compile(r"(?<!\s)\s{200,}")
"""Splitters need a time that grows with the square of such a run."""
_BLANK: Final = re.compile(r"\s+")
_HASHED: Final = 32
"""Characters behind a place that decide whether it is chosen."""
_PLACES: Final = (
    re.compile(r"\n[ \t]*\n+(?=[^\n])"),  # paragraphs
    re.compile(r"\n(?=[^\n])"),  # lines
    re.compile(r"[.!?…][\"')\]]?\s+|[。！？]"),  # sentences
    re.compile(r"\s+(?=\S)"),  # words
)


class Section(Struct, frozen=True):
    start: int
    end: int
    paths: list[tuple[int, str]]
    """Where the text below a heading begins, the heading included, with the path to it; in order, not empty."""

    def path_to(self, start: int, end: int) -> str:
        """Of the headings above `start`; below none of them, the path to the first one in this part of the text."""
        found = ""
        for place, path in self.paths:
            if place >= end or (found and place > start):
                break
            found = path
        return found


def sections(length: int, headings: Iterable[Heading], settings: ChunkSettings) -> Iterator[Section]:
    """Of a text of this length: each begins at a heading."""
    above = HeadingPath()
    start, level = 0, 0
    paths = [(0, "")]
    for heading in headings:
        path = above.enter(heading)
        is_higher = heading.level < level
        least = settings.smallest_section // (_ACROSS_LEVELS if is_higher else 1)
        if heading.start - start >= max(1, least):
            yield Section(start, heading.start, paths)
            start, level, paths = heading.start, heading.level, []
        elif heading.start == start:
            level, paths = heading.level, []
        paths.append((heading.start, path))
    yield Section(start, length, paths)


def stretches(text: str, start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """Places of the parts of a section, without long runs of blanks."""
    for blanks in matches(_BLANKS, text, start, end):
        yield from _divided(text, start, blanks.start(), size)
        start = _behind_blanks(text, blanks.end(), end)
    yield from _divided(text, start, end, size)


def _divided(text: str, start: int, end: int, size: int, kind: int = 0) -> Iterator[tuple[int, int]]:
    """By the best kind of places; what is still too long, by the next kind."""
    if end - start <= _MOST_CHUNKS * size:
        if start < end:
            yield start, end
    elif kind < len(_PLACES):
        places = [found.end() for found in matches(_PLACES[kind], text, start, end)]
        cuts = _lowest([start, *places, end], text, _REACH_CHUNKS * size)
        for each in pairwise([start, *cuts, end]):
            yield from _divided(text, *each, size, kind + 1)
    else:
        yield from _repeated(text, start, end, size)


def _lowest(places: list[int], text: str, reach: int) -> list[int]:
    """The places with a smaller hash than every other one within `reach` before and behind. Nothing beyond it has an
    influence on them: a change of the text moves only the cuts near it. The first and the last place bound the others,
    and are not among the results.
    """
    hashes = [-1, *(_hash(text, place) for place in places[1:-1]), -1]
    rising: list[int] = []
    """Indices of places with a smaller hash than all behind them so far."""
    lowest_before = [False] * len(places)
    found = []
    for index, place in enumerate(places):
        while rising and hashes[rising[-1]] > hashes[index]:
            passed = rising.pop()
            if lowest_before[passed] and place - places[passed] > reach:
                found.append(places[passed])
        lowest_before[index] = bool(rising) and place - places[rising[-1]] > reach
        rising.append(index)
    return sorted(found)


def _hash(text: str, place: int) -> int:
    return zlib.crc32(text[place : place + _HASHED].encode("utf-8", "replace"))


def _behind_blanks(text: str, start: int, end: int) -> int:
    found = _BLANK.match(text, start, end)
    return start if found is None else found.end()


def _repeated(text: str, start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """Of text that repeats itself, so that no place is the lowest, or that has no places at all."""
    while end - start > _MOST_CHUNKS * size:
        last = min(start + _MOST_CHUNKS * size, end - _REACH_CHUNKS * size)
        cut = _repeated_cut(text, start + _LEAST_CHUNKS * size, last)
        yield start, cut
        start = cut
    yield start, end


def _repeated_cut(text: str, low: int, high: int) -> int:
    """In the same phase of the repetition each time."""
    for kind in _PLACES:
        places = [found.end() for found in kind.finditer(text, low, high)]
        if places:
            return min(places, key=lambda place: _hash(text, place))
    return high
