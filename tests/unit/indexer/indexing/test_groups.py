"""H1: documents are prepared ahead, in their order, and in groups of bounded size."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, cast

import pytest

from penstock.contract.retrieval.documents import Document
from services.indexer.documents.document import DocumentRefused, ExtractionUnavailable
from services.indexer.indexing.groups import Refused, ToPrepare, prepared_groups
from services.indexer.indexing.prepare import Prepared, PreparedChunk
from services.indexer.store import interface as store


class FakePreparer:
    """Prepares `chunks` chunks of `characters` characters of each document; earlier documents take longer."""

    def __init__(self, chunks: int = 1, characters: int = 1) -> None:
        self.chunks = chunks
        self.characters = characters
        self.failures: dict[str, Exception] = {}
        self.running: set[str] = set()
        self.most_running = 0
        self.began: list[str] = []

    async def prepare(self, document: Document, digest: str) -> Prepared:
        self.began.append(document.id)
        self.running.add(document.id)
        self.most_running = max(self.most_running, len(self.running))
        try:
            for _ in range(10 - len(self.began) % 10):
                await asyncio.sleep(0)
            if document.id in self.failures:
                raise self.failures[document.id]
        finally:
            self.running.discard(document.id)
        chunk = store.Chunk(id="0" * 32, ordinal=0, text="")
        chunks = [PreparedChunk(chunk, "x" * self.characters)] * self.chunks
        return Prepared(store.Document(id=document.id, digest=digest), tuple(chunks))


def to_prepare(count: int) -> list[ToPrepare]:
    return [ToPrepare(Document(id=f"d{number}", text=""), f"digest {number}") for number in range(count)]


async def grouped(preparer: FakePreparer, count: int, refused: list[Refused]) -> list[list[str]]:
    groups = prepared_groups(cast("Any", preparer), to_prepare(count), refused.append)
    return [[each.document.id for each in group] async for group in groups]


async def test_h1_all_documents_come_in_their_order_and_few_are_prepared_at_once():
    preparer = FakePreparer()
    assert await grouped(preparer, 20, []) == [[f"d{number}" for number in range(20)]]
    assert preparer.most_running == 3
    assert await grouped(preparer, 0, []) == []


@pytest.mark.parametrize(
    ("chunks", "characters", "sizes"),
    [
        (512, 1, [1] * 7),
        (200, 1, [3, 3, 1]),
        (1, 2_000_000, [1] * 7),
        (2, 500_000, [2, 2, 2, 1]),
        (1, 1, [7]),
    ],
)
async def test_h1_a_group_is_bounded_in_chunks_and_characters(chunks: int, characters: int, sizes: list[int]):
    groups = await grouped(FakePreparer(chunks, characters), 7, [])
    assert [len(group) for group in groups] == sizes


async def test_h1_refused_documents_are_reported_and_left_out():
    preparer, refused = FakePreparer(), list[Refused]()
    preparer.failures = {f"d{n}": DocumentRefused("broken", f"no {n}") for n in (0, 2, 4)}
    assert await grouped(preparer, 5, refused) == [["d1", "d3"]]
    assert refused == [Refused(f"d{n}", "broken", f"no {n}") for n in (0, 2, 4)]


async def test_h1_the_first_other_error_ends_what_is_prepared():
    preparer = FakePreparer()
    preparer.failures = {"d1": ExtractionUnavailable("no memory")}
    with pytest.raises(ExtractionUnavailable, match="no memory"):
        await grouped(preparer, 50, [])
    assert len(preparer.began) <= 4
    assert preparer.running == set()


async def test_h1_a_reader_that_stops_leaves_nothing_running():
    preparer = FakePreparer(chunks=512)
    async with aclosing(prepared_groups(cast("Any", preparer), to_prepare(50), lambda _: None)) as groups:
        assert [each.document.id for each in await anext(groups)] == ["d0"]
    assert preparer.running == set()
    assert len(preparer.began) <= 4
