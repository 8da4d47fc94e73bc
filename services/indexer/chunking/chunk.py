"""Chunks of a document."""

from __future__ import annotations

import importlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any, Final

from msgspec import Struct

from services.indexer.chunking.headings import definitions, markdown_headings
from services.indexer.chunking.sections import sections, stretches
from services.indexer.chunking.settings import ChunkSettings
from services.indexer.documents.document import Extracted, Heading

__all__ = ["Chunk", "chunk"]

_MARKDOWN: Final = frozenset({"markdown", "html"})
_SHORT_PART: Final = 10
"""A piece is short up to this part of the size, which is left free in the others for one."""
_DEFAULT_SETTINGS: Final = ChunkSettings()


class Chunk(Struct, frozen=True):
    text: str
    """Exactly `Extracted.text[start:end]`."""
    heading: str
    """The path of headings above its beginning, its own one included: "A > B". In source code, of definitions; in a
    table, the names of its columns.
    """
    start: int
    end: int
    page: int | None
    """Of a PDF: the page that it is on, from 1."""
    ordinal: int


def chunk(extracted: Extracted, settings: ChunkSettings = _DEFAULT_SETTINGS) -> list[Chunk]:
    """Everything visible is in at least one chunk. Takes 50 µs a chunk; call it in a thread for large texts, where it
    keeps Python's lock for a few milliseconds at a time.
    """
    chunks: list[Chunk] = []
    for start, end, heading in _places(extracted, settings):
        text = extracted.text[start:end]
        page = bisect_right(extracted.pages, start) or None
        chunks.append(Chunk(text, heading, start, end, page, len(chunks)))
    return chunks


def _places(extracted: Extracted, settings: ChunkSettings) -> Iterator[tuple[int, int, str]]:
    """Start, end and path of headings of each chunk."""
    text = extracted.text
    split = _splitter(extracted.format in _MARKDOWN, settings).chunk_indices
    for section in sections(len(text), _headings(extracted), settings):
        for begin, end in _parts(extracted, section.start, section.end, settings.size):
            pieces = [
                (begin + offset, begin + offset + len(piece)) for offset, piece in split(text[begin:end])
            ]
            for start, stop in _joined(pieces, settings):
                yield start, stop, section.path_to(start, stop)


def _parts(extracted: Extracted, start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """Of a section: none is on two pages, so that a chunk has one page, which can be cited."""
    first, last = bisect_right(extracted.pages, start), bisect_left(extracted.pages, end)
    for begin, stop in pairwise((start, *extracted.pages[first:last], end)):
        yield from stretches(extracted.text, begin, stop, size)


def _joined(pieces: Iterable[tuple[int, int]], settings: ChunkSettings) -> Iterator[tuple[int, int]]:
    """Without pieces of a heading or a few words, as far as their neighbours have space for them."""
    before: tuple[int, int] | None = None
    for start, end in pieces:
        if before is None:
            before = start, end
        elif _can_join(before, (start, end), settings):
            before = before[0], end
        else:
            yield before
            before = start, end
    if before is not None:
        yield before


def _can_join(before: tuple[int, int], after: tuple[int, int], settings: ChunkSettings) -> bool:
    shorter = min(before[1] - before[0], after[1] - after[0])
    return shorter <= settings.size // _SHORT_PART and after[1] - before[0] <= settings.size


def _headings(extracted: Extracted) -> Iterable[Heading]:
    if extracted.format in _MARKDOWN:
        return markdown_headings(extracted.text)
    if extracted.format == "code":
        return definitions(extracted.text, extracted.language)
    return extracted.headings


@cache
def _splitter(is_markdown: bool, settings: ChunkSettings) -> Any:  # noqa: FBT001 - it is a key
    library: Any = importlib.import_module("semantic_text_splitter")
    kind = library.MarkdownSplitter if is_markdown else library.TextSplitter
    return kind(settings.size - settings.size // _SHORT_PART, overlap=settings.overlap)
