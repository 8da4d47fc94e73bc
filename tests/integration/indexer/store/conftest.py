"""Every store behind the interface, and a table of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.bus.ids import new_id
from services.indexer.store.interface import Store
from services.indexer.store.lancedb.store import LanceStore
from services.indexer.store.postgres.store import PostgresStore
from services.indexer.store.tables import TableName, table_name
from tests.harness.indexer.memory_store import MemoryStore
from tests.harness.indexer.stored_documents import DIMENSIONS


@pytest.fixture(params=["memory", "lancedb", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened: Store
    if request.param == "memory":
        opened = MemoryStore()
    elif request.param == "lancedb":
        opened = LanceStore(str(tmp_path / "lance"))
        await opened.open()
    else:
        opened = PostgresStore(request.getfixturevalue("postgres_url"))
        await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def table(store: Store) -> AsyncIterator[TableName]:
    name = table_name("acme", new_id(), 1)
    await store.create(name, DIMENSIONS)
    yield name
    await store.drop(name)
