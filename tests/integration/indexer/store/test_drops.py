"""H4: a drop of a collection beside later documents that other processes write: none of these is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.bus.ids import new_id
from penstock.contract.retrieval.documents import IndexBody
from services.indexer.store.interface import Store
from services.indexer.store.opening import open_store
from services.indexer.store.tables import TableName, table_name
from tests.harness.indexer.local_indexer import LocalIndexer, MemoryRecords, documents
from tests.harness.indexer.memory_store import MemoryStore
from tests.harness.indexer.stored_documents import DIMENSIONS, document

WRITTEN, DROPPED, LATER = 2, 5, 9
"""Versions of the requests."""

Moment = Callable[[], Awaitable[None]]


@pytest.fixture(params=["memory", "lancedb", "postgres"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Store, Store]]:
    """Of two processes."""
    if request.param == "memory":
        memory = MemoryStore()
        yield memory, memory
        return
    url = str(tmp_path) if request.param == "lancedb" else request.getfixturevalue("postgres_url")
    opened = [await open_store(url) for _ in range(2)]
    yield opened[0], opened[1]
    for store in opened:
        await store.close()


class TwoProcesses:
    """One drops the collection, and the other one writes a later document at a moment of the drop."""

    def __init__(self, stores: tuple[Store, Store]) -> None:
        records, self.collection = MemoryRecords(), f"c-{new_id()}"
        self.dropping = LocalIndexer(stores[0], records)  # type: ignore[arg-type]
        self.writing = LocalIndexer(stores[1], records)  # type: ignore[arg-type]

    async def run(self, moment: Callable[[Any, Moment], None]) -> None:
        """The drop, then nothing but the later document is found."""
        await self.writing.index(documents(a="an old text"), self.collection, version=WRITTEN)
        reports = []

        async def write() -> None:
            if not reports:
                body = documents(b="a later text")
                reports.append(await self.writing.index(body, self.collection, version=LATER))

        moment(self.dropping, write)
        await self.dropping.index(IndexBody(drop=True), self.collection, version=DROPPED)
        assert [(report.indexed, report.refused) for report in reports] == [(1, ())]
        assert await self.dropping.texts(self.collection) == {"b": ["a later text"]}
        answer = await self.writing.search("text", self.collection)
        assert [each.document for each in answer.passages] == ["b"]
        await self.dropping.index(IndexBody(drop=True), self.collection, version=LATER + 1)


def before_each(owner: str, method: str) -> Callable[[Any, Moment], None]:
    def patch(indexer: Any, write: Moment) -> None:
        called = getattr(getattr(indexer, owner), method)

        async def late(*arguments: Any, **more: Any) -> Any:
            await write()
            return await called(*arguments, **more)

        setattr(getattr(indexer, owner), method, late)

    return patch


def after_the_removal(indexer: Any, write: Moment) -> None:
    """And before the record says so."""
    drop = indexer.store.drop

    async def early(*arguments: Any, **more: Any) -> Any:
        removed = await drop(*arguments, **more)
        await write()
        return removed

    indexer.store.drop = early


@pytest.mark.parametrize(
    "moment",
    [before_each("store", "list_documents"), before_each("store", "drop"), after_the_removal],
    ids=["before the older documents are listed", "before the table is removed", "after it was removed"],
)
async def test_h4_a_later_document_survives_a_drop(
    stores: tuple[Store, Store], moment: Callable[[Any, Moment], None]
):
    await TwoProcesses(stores).run(moment)


async def test_h4_a_document_of_a_later_version_keeps_its_table(stores: tuple[Store, Store]):
    store, other = stores
    table = table_name("acme", new_id(), 1)
    await store.create(table, DIMENSIONS)
    await store.replace(table, WRITTEN, [document("a", ["one"])])
    await other.replace(table, LATER, [document("b", ["two"])])
    assert not await store.drop(table, unless_later=DROPPED)
    assert set(await other.documents(table, ["a", "b"])) == {"a", "b"}
    assert await store.exists(table)
    assert await store.drop(table, unless_later=LATER)
    assert await store.drop(table, unless_later=LATER)
    assert not await store.exists(table)


async def test_h4_drops_beside_reads_and_changes_wait_for_no_lock_of_each_other(stores: tuple[Store, Store]):
    store, other = stores

    async def use(table: TableName, call: Callable[[], Awaitable[object]]) -> None:
        while await store.exists(table):
            await call()
            await asyncio.sleep(0)

    for number in range(3):
        table = table_name("acme", new_id(), number)
        await store.create(table, DIMENSIONS)
        using = [
            asyncio.create_task(use(table, call))
            for call in (
                lambda table=table: other.documents(table, ["a"]),
                lambda table=table: other.replace(table, WRITTEN, [document("a", ["one", "two"])]),
                lambda table=table: other.replace(table, WRITTEN, [document("b", ["three"])], ["c"]),
            )
        ]
        await asyncio.sleep(0.1)
        assert await store.drop(table)
        ended = await asyncio.gather(*using, return_exceptions=True)
        assert {type(each).__name__ for each in ended} <= {"UnknownTable", "NoneType"}
