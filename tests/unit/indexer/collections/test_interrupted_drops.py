"""A drop completes only when the tables are gone, however often it was interrupted."""

from __future__ import annotations

import pytest

from penstock.contract.retrieval.documents import IndexBody
from services.indexer.collections.names import memory_of
from services.indexer.embedding.gateway import EmbeddingFailed
from services.indexer.store.errors import StoreUnavailable
from tests.harness.indexer.local_indexer import LocalIndexer, documents


class _Interrupted(LocalIndexer):
    """Its store fails at drops until `failing` is None."""

    def __init__(self, failing: Exception | None = None) -> None:
        super().__init__()
        self.failing = failing
        drop = self.store.drop

        async def failing_drop(table: str, unless_later: int | None = None) -> bool:
            if self.failing is not None:
                raise self.failing
            return await drop(table, unless_later)  # type: ignore[arg-type]

        self.store.drop = failing_drop  # type: ignore[method-assign]


@pytest.mark.parametrize("failure", [ConnectionAbortedError("killed"), StoreUnavailable("a lock")])
@pytest.mark.parametrize("name", ["docs", memory_of("acme", "ann")])
async def test_h4_a_repeated_drop_removes_the_tables_that_the_first_one_left(name: str, failure: Exception):
    indexer = _Interrupted(failure)
    await indexer.index(documents(a="a secret", b="another"), name, version=1)
    with pytest.raises(type(failure)):
        await indexer.index(IndexBody(drop=True), name, version=5)
    assert await indexer.store.tables()

    indexer.failing = None
    report = await indexer.index(IndexBody(drop=True), name, version=5)
    assert (report.deleted, report.chunks_deleted) == (2, 2)
    assert await indexer.store.tables() == {}
    assert indexer.records.stored["acme", name].dropping == ()


async def test_h4_a_later_drop_removes_what_an_interrupted_one_left_below_a_new_table():
    indexer = _Interrupted()
    await indexer.index(documents(a="a secret"), version=1)
    indexer.failing = StoreUnavailable("a lock")
    with pytest.raises(StoreUnavailable):
        await indexer.index(IndexBody(drop=True), version=5)
    await indexer.index(documents(b="new"), version=6)

    indexer.failing = None
    await indexer.index(IndexBody(drop=True), version=5)
    assert await indexer.texts() == {"b": ["new"]}
    assert len(await indexer.store.tables()) == 1


async def test_h5_the_table_of_a_replaced_model_is_removed_after_an_interruption():
    indexer = _Interrupted()
    await indexer.index(documents(a="text"), version=1)
    indexer.failing = StoreUnavailable("a lock")
    with pytest.raises(StoreUnavailable):
        await indexer.index(IndexBody(model="large"), version=5)
    indexer.failing = None
    await indexer.index(IndexBody(drop=True), version=6)
    assert await indexer.store.tables() == {}


class _DiesAfterTheDrop(LocalIndexer):
    """Its process ends when the first table is removed, before the record says so."""

    def __init__(self) -> None:
        super().__init__()
        drop, self.deaths = self.store.drop, 0

        async def dying_drop(table: str, unless_later: int | None = None) -> bool:
            dropped = await drop(table, unless_later)  # type: ignore[arg-type]
            if not self.deaths:
                self.deaths += 1
                raise ConnectionAbortedError("killed")
            return dropped

        self.store.drop = dying_drop  # type: ignore[method-assign]


@pytest.mark.parametrize("name", ["docs", memory_of("acme", "ann")])
async def test_h4_a_drop_that_died_after_the_removal_reports_its_counts_when_repeated(name: str):
    indexer = _DiesAfterTheDrop()
    await indexer.index(documents(a="a text", b="another"), name, version=1)
    with pytest.raises(ConnectionAbortedError):
        await indexer.index(IndexBody(drop=True), name, version=5)
    assert await indexer.store.tables() == {}
    for _ in range(2):  # also one whose acknowledgement was lost
        report = await indexer.index(IndexBody(drop=True), name, version=5)
        assert (report.deleted, report.chunks_deleted, report.deleted_unknown) == (2, 2, False)
    assert (await indexer.index(IndexBody(drop=True), name, version=6)).deleted == 0


async def test_h4_a_repetition_in_the_same_process_counts_a_drop_once():
    indexer = LocalIndexer()
    await indexer.index(documents(a="a text", b="another"), version=1)
    task = indexer.task(IndexBody(drop=True, documents=documents(c="new").documents), version=5)
    indexer.gateway.failing = EmbeddingFailed("provider_unavailable", "now")
    with pytest.raises(EmbeddingFailed):
        await indexer.indexer.index(task)
    indexer.gateway.failing = None
    report = await indexer.indexer.index(task)
    assert (report.deleted, report.chunks_deleted, report.indexed) == (2, 2, 1)


async def test_h4_the_drop_of_a_missing_table_says_that_it_knows_no_counts():
    indexer = LocalIndexer()
    await indexer.index(documents(a="a text"), version=1)
    for table in await indexer.store.tables():
        await indexer.store.drop(table)
    for _ in range(2):
        report = await indexer.index(IndexBody(drop=True), version=5)
        assert (report.deleted, report.deleted_unknown) == (0, True)
    assert not (await indexer.index(IndexBody(drop=True), version=6)).deleted_unknown
    assert (await indexer.index(documents(a="a text"), version=7)).indexed == 1
