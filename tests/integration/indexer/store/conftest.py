"""Every store behind the interface, and a table of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from penstock.bus.ids import new_id
from services.indexer.store.interface import Store
from services.indexer.store.tables import TableName, table_name
from tests.harness.indexer.memory_store import MemoryStore
from tests.harness.indexer.stored_documents import DIMENSIONS


@pytest.fixture(params=["memory"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    opened = MemoryStore()
    yield opened
    await opened.close()


@pytest.fixture
async def table(store: Store) -> AsyncIterator[TableName]:
    name = table_name("acme", new_id(), 1)
    await store.create(name, DIMENSIONS)
    yield name
    await store.drop(name)
