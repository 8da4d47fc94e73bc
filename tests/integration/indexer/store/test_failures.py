"""H5: a full disk, a missing directory, damaged files and a lost server: an error that says whether to try again."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from penstock.bus.ids import new_id
from services.indexer.store.errors import StoreCorrupt, StoreError, StoreUnavailable, UnknownTable
from services.indexer.store.interface import Store
from services.indexer.store.opening import open_store
from services.indexer.store.tables import TableName, table_name
from tests.harness.indexer.postgres_server import PostgresServer
from tests.harness.indexer.stored_documents import DIMENSIONS, document, question


async def filled(url: str) -> tuple[Store, TableName]:
    store, table = await open_store(url), table_name("acme", new_id(), 1)
    await store.create(table, DIMENSIONS)
    await store.replace(table, 1, [document("a", ["one", "two"]), document("b", ["three"])])
    return store, table


async def check_unchanged(store: Store, table: TableName) -> None:
    states = await store.documents(table, ["a", "b", "c"])
    assert {id_: state.version for id_, state in states.items()} == {"a": 1, "b": 1}
    assert len(await store.search_vector(table, question("one"))) == 3


@contextmanager
def no_space(size: int) -> Iterator[None]:
    """Every file of this process ends at a size, as on a full disk. Python ignores the signal that comes with it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_h5_a_full_disk_leaves_the_old_state(tmp_path: Path):
    store, table = await filled(str(tmp_path))
    large = document("c", [os.urandom(200_000).hex(), "x"])
    for size in (0, 300, 20_000):
        with no_space(size), pytest.raises(StoreUnavailable):
            await store.replace(table, 2, [large, document("a", ["new"])], ["b"])
        await check_unchanged(store, table)
    assert await store.replace(table, 2, [large], ["b"]) == frozenset()
    assert set(await store.documents(table, ["a", "b", "c"])) == {"a", "c"}
    await store.close()


async def test_h5_a_missing_directory_is_unavailable(tmp_path: Path):
    store, table = await filled(str(tmp_path / "store"))
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="missing"):
            await store.search_vector(table, question("one"))
        with pytest.raises(StoreUnavailable, match="missing"):
            await store.replace(table, 2, [document("a", ["new"])])
    with pytest.raises(StoreUnavailable, match="missing"):
        await store.create(table_name("acme", "new", 1), DIMENSIONS)
    assert not (tmp_path / "store").exists()
    (tmp_path / "elsewhere").rename(tmp_path / "store")
    await check_unchanged(store, table)
    await store.close()


async def test_h5_a_directory_that_cannot_be_made_is_unavailable(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreUnavailable):
        await open_store(str(tmp_path / "file" / "store"))


@pytest.mark.parametrize("damage", ["cut", "overwritten", "removed"])
async def test_h5_damaged_files_are_corrupt(tmp_path: Path, damage: str):
    store, table = await filled(str(tmp_path))
    await store.close()
    for path in (tmp_path / f"{table}.lance" / "data").iterdir():
        if damage == "removed":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:40] if damage == "cut" else bytes(path.stat().st_size))
    store = await open_store(str(tmp_path))
    with pytest.raises(StoreCorrupt):
        await store.search_vector(table, question("one"))
    await store.drop(table)
    await store.create(table, DIMENSIONS)
    await store.close()


async def test_h5_a_damaged_manifest_is_corrupt(tmp_path: Path):
    store, table = await filled(str(tmp_path))
    await store.close()
    for path in (tmp_path / f"{table}.lance" / "_versions").glob("*.manifest"):
        path.write_bytes(b"\xff" * path.stat().st_size)
    store = await open_store(str(tmp_path))
    with pytest.raises(StoreCorrupt):
        await store.documents(table, ["a"])
    await store.close()


@pytest.mark.parametrize("kind", ["lancedb", "postgres"])
async def test_h5_a_table_that_another_process_drops_is_unknown(tmp_path: Path, postgres_url: str, kind: str):
    url = str(tmp_path) if kind == "lancedb" else postgres_url
    store, table = await filled(url)
    other = await open_store(url)
    await other.drop(table)
    errors: list[type[StoreError]] = []
    for _ in range(2):
        for call in (
            store.search_vector(table, question("one")),
            store.replace(table, 2, [document("a", ["new"])]),
            store.purge(table),
        ):
            try:
                await call
            except StoreError as error:
                errors.append(type(error))
    assert errors == [UnknownTable] * 6
    assert table not in await store.tables()
    assert not list(tmp_path.glob(f"{table}*"))
    await store.close()
    await other.close()


async def test_h5_lost_connections_are_made_again(postgres_server: PostgresServer, postgres_url: str):
    store, table = await filled(postgres_url)
    connection = await asyncpg.connect(postgres_url)
    ended = await connection.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'penstock-indexer'"
    )
    assert len(ended) >= 1
    await connection.close()
    await check_unchanged(store, table)
    postgres_server.stop()
    with pytest.raises(StoreUnavailable):
        await store.search_vector(table, question("one"))
    with pytest.raises(StoreUnavailable):
        await open_store(postgres_url)
    postgres_server.start()
    await check_unchanged(store, table)
    await store.drop(table)
    await store.close()


async def test_h5_a_lost_transaction_changes_nothing(postgres_url: str):
    store, table = await filled(postgres_url)
    blocker, observer = await asyncpg.connect(postgres_url), await asyncpg.connect(postgres_url)
    ended = 0

    async def end_waiting() -> None:
        nonlocal ended
        while True:
            ended += len(
                await observer.fetch(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'penstock-indexer' AND wait_event_type = 'Lock'"
                )
            )
            await asyncio.sleep(0.01)

    ending = asyncio.create_task(end_waiting())
    async with blocker.transaction():
        await blocker.execute(f"LOCK TABLE penstock_index.{table}_chunks")
        with pytest.raises(StoreUnavailable):
            await store.replace(table, 2, [document("a", ["new"])], ["b"])
    ending.cancel()
    await asyncio.gather(ending, return_exceptions=True)
    assert ended >= 3  # the change is tried three times
    await check_unchanged(store, table)
    await store.drop(table)
    await blocker.close()
    await observer.close()
    await store.close()
