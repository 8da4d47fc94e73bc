"""H5: PostgreSQL that is killed while documents are written: an error that may be repeated, and nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from penstock.bus.ids import new_id
from services.indexer.store.errors import StoreUnavailable
from services.indexer.store.opening import open_store
from services.indexer.store.tables import table_name
from tests.harness.indexer.postgres_server import PostgresServer
from tests.harness.indexer.stored_documents import DIMENSIONS, question
from tests.harness.indexer.versioned_documents import check_whole, stored_version, write


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    made = PostgresServer()
    made.start()
    yield made
    made.remove()


async def test_h5_a_killed_server_keeps_what_it_has_confirmed(server: PostgresServer):
    store, table = await open_store(server.url), table_name("acme", new_id(), 1)
    await store.create(table, DIMENSIONS)
    confirmed = 0

    async def write_all() -> None:
        nonlocal confirmed
        while True:
            await write(store, table, confirmed + 1)
            confirmed += 1

    writing = asyncio.create_task(write_all())
    while confirmed < 5:
        await asyncio.sleep(0.01)
    await asyncio.to_thread(server.kill)
    with pytest.raises(StoreUnavailable):
        await writing
    with pytest.raises(StoreUnavailable):
        await store.search_vector(table, question("one"))

    await asyncio.to_thread(server.start)
    assert await stored_version(store, table) in {confirmed, confirmed + 1}
    await check_whole(store, table, await stored_version(store, table))
    await write(store, table, confirmed + 2)
    await check_whole(store, table, confirmed + 2)
    await store.close()
