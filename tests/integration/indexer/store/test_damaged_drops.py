"""H4: a collection whose table is damaged or missing is listed and dropped, and indexed again afterwards."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

from penstock.bus.ids import new_id
from penstock.contract.retrieval.collections import CollectionsQuery
from penstock.contract.retrieval.documents import IndexBody
from services.indexer.collections.names import memory_of
from services.indexer.collections.tables import table_of
from services.indexer.search.listing import Listing
from services.indexer.search.lookup import CollectionLookup, FollowedRecords
from services.indexer.store.opening import open_store
from services.indexer.store.tables import TableName
from tests.harness.indexer.local_indexer import ACCOUNT, LocalIndexer, MemoryRecords, documents
from tests.harness.indexer.postgres_server import PostgresServer

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[: len(content) // 2],
    "emptied": lambda _: b"",
    "overwritten": lambda content: b"\xff" * len(content),
}


async def _indexed(url: str, name: str) -> tuple[MemoryRecords, TableName]:
    """The records of a collection of two documents that another process has written, and its table."""
    store = await open_store(url)
    indexer = LocalIndexer(store, MemoryRecords())  # type: ignore[arg-type]
    await indexer.index(documents(a="a text", b="another one"), name, version=1)
    await store.close()
    (record,) = indexer.records.stored.values()
    assert record.current is not None
    return indexer.records, table_of(record, record.current)


async def _check_drop(
    url: str, records: MemoryRecords, name: str, table: TableName, *, counted: int | None = None
) -> None:
    """`counted`: documents that are still known."""
    store = await open_store(url)
    indexer = LocalIndexer(store, records)  # type: ignore[arg-type]
    if name == "docs":
        listing = Listing(store, CollectionLookup(FollowedRecords(), records), records)
        (status,) = (await listing.collections(ACCOUNT, CollectionsQuery(name=name))).collections
        assert not status.sizes_known
    report = await indexer.index(IndexBody(drop=True), name, version=5)
    assert (report.deleted, report.deleted_unknown) == (counted or 0, counted is None)
    assert table not in await store.tables()
    report = await indexer.index(documents(a="a text", c="a new one"), name, version=6)
    assert (report.indexed, report.deleted_unknown) == (2, False)
    assert await indexer.texts(name) == {"a": ["a text"], "c": ["a new one"]}
    assert (await indexer.index(IndexBody(drop=True), name, version=7)).deleted == 2
    await store.close()


@pytest.mark.parametrize("name", ["docs", memory_of("acme", "ann")])
@pytest.mark.parametrize("part", ["data", "_versions"])
@pytest.mark.parametrize("damage", DAMAGES)
async def test_h4_a_collection_of_damaged_files_is_dropped(tmp_path: Path, part: str, damage: str, name: str):
    records, table = await _indexed(str(tmp_path), name)
    for path in (tmp_path / f"{table}.lance" / part).iterdir():
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    await _check_drop(str(tmp_path), records, name, table)
    assert not list(tmp_path.glob(f"{table}*"))


@pytest.mark.parametrize("name", ["docs", memory_of("acme", "ann")])
@pytest.mark.parametrize("part", ["data", "_versions", "."])
async def test_h4_a_collection_of_missing_files_is_dropped(tmp_path: Path, part: str, name: str):
    records, table = await _indexed(str(tmp_path), name)
    shutil.rmtree(tmp_path / f"{table}.lance" / part)
    await _check_drop(str(tmp_path), records, name, table)
    assert not list(tmp_path.glob(f"{table}*"))


async def test_h4_a_table_that_no_record_names_is_removed_also_when_it_is_damaged(tmp_path: Path):
    records, table = await _indexed(str(tmp_path), "docs")
    for path in (tmp_path / f"{table}.lance" / "_versions").iterdir():
        path.write_bytes(b"")
    store = await open_store(str(tmp_path))
    indexer = LocalIndexer(store, records)  # type: ignore[arg-type]
    assert await indexer.remove_orphans() == 0
    await records.change(ACCOUNT, "docs", lambda stored: stored and replace(stored, current=None))
    assert await indexer.remove_orphans() == 1
    assert await store.tables() == {}
    await store.close()


@pytest.mark.parametrize(("missing", "counted"), [(("chunks",), 2), (("chunks", "documents"), None)])
async def test_h4_a_collection_of_missing_tables_of_postgresql_is_dropped(
    postgres_url: str, missing: tuple[str, ...], counted: int | None
):
    name = f"docs-{new_id()}"
    records, table = await _indexed(postgres_url, name)
    connection = await asyncpg.connect(postgres_url)
    for each in missing:
        await connection.execute(f"DROP TABLE penstock_index.{table}_{each}")
    await connection.close()
    await _check_drop(postgres_url, records, name, table, counted=counted)


async def test_h4_a_collection_of_damaged_pages_of_postgresql_is_dropped():
    server = PostgresServer()
    server.start()
    try:
        records, table = await _indexed(server.url, "docs")
        connection = await asyncpg.connect(server.url)
        await connection.execute("CHECKPOINT")
        file = await connection.fetchval(f"SELECT pg_relation_filepath('penstock_index.{table}_documents')")
        await connection.close()
        await asyncio.to_thread(server.stop)
        path = server.directory / "data" / file
        path.write_bytes(b"\xff" * path.stat().st_size)
        await asyncio.to_thread(server.start)
        await _check_drop(server.url, records, "docs", table)
    finally:
        server.remove()
