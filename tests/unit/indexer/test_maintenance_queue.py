"""H1: changed tables are optimised one after the other, and a failure of one does not stop the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from services.indexer.maintenance_queue import MaintenanceQueue
from services.indexer.store.errors import StoreUnavailable, UnknownTable
from services.indexer.store.tables import TableName

FIRST, SECOND = TableName("first"), TableName("second")


class FakeStore:
    def __init__(self) -> None:
        self.optimized: list[str] = []
        self.failures: dict[str, Exception] = {}
        self.running = 0
        self.before: Callable[[], None] = lambda: None

    async def optimize(self, table: TableName) -> bool:
        assert self.running == 0
        self.running += 1
        self.before()
        await asyncio.sleep(1)
        self.running -= 1
        self.optimized.append(table)
        if table in self.failures:
            raise self.failures.pop(table)
        return True


async def test_h1_many_changes_of_a_table_are_one_optimisation():
    store = FakeStore()
    queue = MaintenanceQueue(store, rest_s=2.0)
    queue.start()
    for _ in range(10):
        queue.note_change(FIRST)
        queue.note_change(SECOND)
    await asyncio.sleep(1.9)
    assert store.optimized == []
    await asyncio.sleep(10)
    assert store.optimized == [FIRST, SECOND]
    assert queue.optimized == 2
    await queue.stop()


async def test_h1_a_change_during_the_optimisation_is_followed_by_another():
    store = FakeStore()
    queue = MaintenanceQueue(store, rest_s=2.0)

    def change_once() -> None:
        queue.note_change(FIRST)
        store.before = lambda: None

    store.before = change_once
    queue.start()
    queue.note_change(FIRST)
    await asyncio.sleep(60)
    assert store.optimized == [FIRST, FIRST]
    await queue.stop()


@pytest.mark.parametrize(
    "error",
    [UnknownTable(FIRST), StoreUnavailable("away"), RuntimeError("a bug")],
    ids=lambda e: type(e).__name__,
)
async def test_h1_a_table_that_cannot_be_optimised_does_not_stop_the_others(error: Exception):
    store = FakeStore()
    store.failures = {FIRST: error}
    queue = MaintenanceQueue(store, rest_s=0.1)
    queue.start()
    queue.note_change(FIRST)
    queue.note_change(SECOND)
    await asyncio.sleep(10)
    assert store.optimized == [FIRST, SECOND]
    assert queue.optimized == 1
    await queue.stop()
