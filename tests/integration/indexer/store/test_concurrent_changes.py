"""H1: changes at the same time, and processes that are killed, leave each document as one version has written it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from pathlib import Path

import pytest

from penstock.bus.ids import new_id
from services.indexer.store.interface import Store
from services.indexer.store.opening import open_store
from services.indexer.store.tables import TableName, table_name
from tests.harness.indexer.killed_writers import kill_writers
from tests.harness.indexer.stored_documents import DIMENSIONS, document
from tests.harness.indexer.versioned_documents import check_whole, stored_version, write

WRITERS = 4


@pytest.fixture(params=["lancedb", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "lancedb":
        return str(tmp_path / "lance")
    return str(request.getfixturevalue("postgres_url"))


async def test_h1_the_highest_version_stays_whoever_is_last(url: str):
    stores = [await open_store(url) for _ in range(WRITERS)]
    dice = random.Random(3)
    for _ in range(3):  # the documents are new in each round
        table = table_name("acme", new_id(), 1)
        await stores[0].create(table, DIMENSIONS)
        versions = [dice.sample(range(1, 100), 4) for _ in stores]
        async with asyncio.TaskGroup() as tasks:
            for store, own in zip(stores, versions, strict=True):
                tasks.create_task(_write_all(store, table, own))
        highest = max(version for own in versions for version in own)
        for store in stores:
            await check_whole(store, table, highest)
        await stores[0].drop(table)
    for store in stores:
        await store.close()


async def _write_all(store: Store, table: TableName, versions: list[int]) -> None:
    for version in versions:
        await write(store, table, version)


async def test_h1_of_a_change_and_a_later_confirmation_one_of_both_holds(url: str):
    """Whichever comes first: the confirmed content stays, or the confirmation says that it was replaced."""
    writer, confirmer = await open_store(url), await open_store(url)
    table = table_name("acme", new_id(), 1)
    await writer.create(table, DIMENSIONS)
    for number in range(12):
        ids = [f"{number}-{each}" for each in range(4)]
        before = [document(id_, ["before", id_]) for id_ in ids]
        await writer.replace(table, 1, before)
        digests = {each.document.id: each.document.digest for each in before}
        outdated, changed = await asyncio.gather(
            writer.replace(table, 2, [document(id_, ["after"]) for id_ in ids]),
            _after(number * 0.004, confirmer.confirm(table, 3, digests)),
        )
        assert outdated | changed == set(ids)
        assert not outdated & changed
        states = await writer.documents(table, ids)
        assert {id_: state.version for id_, state in states.items()} == {
            id_: 3 if id_ in outdated else 2 for id_ in ids
        }
    await writer.drop(table)
    await writer.close()
    await confirmer.close()


async def _after(delay_s: float, change: Awaitable[frozenset[str]]) -> frozenset[str]:
    await asyncio.sleep(delay_s)
    return await change


async def test_h1_a_reader_sees_whole_versions_only(url: str):
    writer, reader = await open_store(url), await open_store(url)
    table = table_name("acme", new_id(), 1)
    await writer.create(table, DIMENSIONS)
    await write(writer, table, 1)
    writing = asyncio.create_task(_write_all(writer, table, list(range(2, 30))))
    seen = set()
    while not writing.done():
        states = await reader.documents(table, ["a", "b", "c"])
        assert len({state.version for state in states.values()}) == 1, states
        seen.add(states["a"].version)
    await writing
    assert len(seen) > 3
    assert await stored_version(reader, table) == 29
    await writer.drop(table)
    await writer.close()
    await reader.close()


async def test_h1_a_killed_writer_leaves_one_version(url: str):
    tables = [table_name("acme", new_id(), number) for number in range(2)]
    written = await asyncio.gather(
        *(kill_writers(url, table, kills=1, seed=number) for number, table in enumerate(tables))
    )
    assert min(written) > 1
