"""Cuts a text where its own content says so, before chunks are made.

A splitter that fills one chunk after the other from the beginning moves all of them when a word is inserted. Here every
section begins at a place that is chosen by the text around it, so that a change moves only the chunks near it; and no
splitter sees more than a few thousand characters at once, on which each of them is fast, whatever they are.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from services.indexer.chunking.headings import Heading, HeadingPath
from services.indexer.chunking.scanning import matches
from services.indexer.chunking.settings import ChunkSettings

__all__ = ["Section", "sections", "stretches"]

_LEAST_CHUNKS: Final = 4
_MOST_CHUNKS: Final = 8
"""The length of a stretch of text without headings is between these many chunks."""
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

    def path_at(self, place: int) -> str:
        found = self.paths[0][1]
        for start, path in self.paths:
            if start > place:
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


def _divided(text: str, start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    while end - start > _MOST_CHUNKS * size:
        cut = _cut(text, start + _LEAST_CHUNKS * size, start + _MOST_CHUNKS * size)
        yield start, cut
        start = cut
    if start < end:
        yield start, end


def _behind_blanks(text: str, start: int, end: int) -> int:
    found = _BLANK.match(text, start, end)
    return start if found is None else found.end()


def _cut(text: str, low: int, high: int) -> int:
    """Of the best kind of places between, that with the smallest hash of the text behind it: whatever is inserted
    before it, it most likely stays the smallest one.
    """
    for kind in _PLACES:
        places = [found.end() for found in kind.finditer(text, low, high)]
        if places:
            return min(
                places, key=lambda place: zlib.crc32(text[place : place + _HASHED].encode("utf-8", "replace"))
            )
    return high
