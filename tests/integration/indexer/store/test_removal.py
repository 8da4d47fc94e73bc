"""H5: a table that is removed while it is read or written is unknown at once, never found without some of its files."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from penstock.bus.ids import new_id
from penstock.contract.retrieval.documents import IndexBody
from services.indexer.store.errors import StoreUnavailable, UnknownTable
from services.indexer.store.interface import Store
from services.indexer.store.lancedb import database
from services.indexer.store.lancedb.locks import TableLocks
from services.indexer.store.lancedb.store import LanceStore
from services.indexer.store.tables import TableName, table_name
from tests.harness.indexer.local_indexer import LocalIndexer, documents
from tests.harness.indexer.stored_documents import DIMENSIONS, document, question


class Removal:
    """Stops the removal of a table's files before the first one is deleted."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.goes_on = threading.Event()

    def remove(self, path: Path) -> None:
        if path.exists():
            self.begun.set()
            assert self.goes_on.wait(10)
        rmtree(path)


rmtree = shutil.rmtree


@pytest.fixture
def removal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Removal]:
    made = Removal()
    monkeypatch.setattr(database.shutil, "rmtree", made.remove)  # type: ignore[attr-defined]
    yield made
    made.goes_on.set()


@pytest.fixture
async def lance(tmp_path: Path) -> AsyncIterator[LanceStore]:
    opened = LanceStore(str(tmp_path))
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def filled(lance: LanceStore) -> TableName:
    """A table of several versions, in each of which something is stored."""
    table = table_name("acme", new_id(), 1)
    await lance.create(table, DIMENSIONS)
    for version in range(1, 5):
        await lance.replace(table, version, [document("a", [f"text {version}", "two"])])
    return table


CALLS: dict[str, Callable[[Store, TableName], Awaitable[object]]] = {
    "search by vector": lambda store, table: store.search_vector(table, question("two")),
    "search by words": lambda store, table: store.search_text(table, ["two"], question("two")),
    "documents": lambda store, table: store.documents(table, ["a"]),
    "list": lambda store, table: store.list_documents(table),
    "change": lambda store, table: store.replace(table, 9, [document("a", ["new"])]),
}


async def test_h5_while_its_files_are_removed_a_table_is_unknown(
    lance: LanceStore, filled: TableName, removal: Removal
):
    dropping = asyncio.create_task(lance.drop(filled))
    await asyncio.to_thread(removal.begun.wait, 10)
    for call in CALLS.values():
        with pytest.raises(UnknownTable):
            await call(lance, filled)
    removal.goes_on.set()
    await dropping


async def test_h5_an_interrupted_removal_is_repeated(
    lance: LanceStore, filled: TableName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(path: Path) -> None:
        if path.exists():
            raise OSError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(database.shutil, "rmtree", fail)  # type: ignore[attr-defined]
        with pytest.raises(StoreUnavailable, match="killed"):
            await lance.drop(filled)
    assert await lance.tables() == {filled: 0}, "older than any other: the removal of orphans takes it"
    with pytest.raises(UnknownTable):
        await lance.documents(filled, ["a"])
    await lance.drop(filled)
    assert await lance.tables() == {}
    assert not list(tmp_path.glob(f"{filled}*"))


async def test_h5_a_change_that_waits_while_the_table_is_dropped_finds_it_unknown(
    lance: LanceStore, filled: TableName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    other = LanceStore(str(tmp_path))
    await other.open()
    shared = TableLocks.shared

    @asynccontextmanager
    async def late(locks: TableLocks, table: TableName) -> AsyncIterator[None]:
        await other.drop(table)
        async with shared(locks, table):
            yield

    monkeypatch.setattr(TableLocks, "shared", late)
    with pytest.raises(UnknownTable):
        await lance.replace(filled, 9, [document("a", ["new"])])
    await other.close()


@pytest.mark.parametrize("call", CALLS)
async def test_h5_a_table_that_is_dropped_while_it_is_opened_is_unknown(
    lance: LanceStore, filled: TableName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
):
    other = LanceStore(str(tmp_path))
    await other.open()
    has_indexes = database._has_search_indexes

    async def late(opened: Any) -> bool:
        await lance.drop(filled)
        return await has_indexes(opened)

    monkeypatch.setattr(database, "_has_search_indexes", late)
    with pytest.raises(UnknownTable):
        await CALLS[call](other, filled)
    await other.close()


async def test_h5_a_search_that_began_before_a_switch_is_answered_from_the_new_table(store: Store):
    indexer, collection = LocalIndexer(store), f"c-{new_id()}"  # type: ignore[arg-type]
    await indexer.index(documents(a="the pump starts at noon"), collection)
    began, switched = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        if not began.is_set():
            began.set()
            await switched.wait()

    indexer.gateway.before = wait
    searching = asyncio.create_task(indexer.search("when does the pump start", collection))
    await began.wait()
    report = await indexer.index(IndexBody(model="large"), collection)
    assert report.model == "large"
    switched.set()
    answer = await searching
    assert (answer.model, [each.document for each in answer.passages]) == ("large", ["a"])
    await indexer.index(IndexBody(drop=True), collection)
