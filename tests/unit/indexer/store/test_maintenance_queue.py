"""H1: changed tables are optimised, and neither the rest nor a failure of one stops the others."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from services.indexer.store.errors import StoreUnavailable, UnknownTable
from services.indexer.store.maintenance_queue import MaintenanceQueue
from services.indexer.store.tables import TableName
from tests.harness.suite.waiting import until

FIRST, SECOND = TableName("first"), TableName("second")
RESTING, FAILING, OTHER = TableName("resting"), TableName("failing"), TableName("other")


class FakeStore:
    def __init__(self) -> None:
        self.optimized: list[str] = []
        self.failures: dict[str, Exception] = {}
        self.running: set[TableName] = set()
        self.before: Callable[[], None] = lambda: None

    async def optimize(self, table: TableName) -> bool:
        assert table not in self.running
        self.running.add(table)
        self.before()
        await asyncio.sleep(1)
        self.running.remove(table)
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
    await queue.stop()


class RestingStore:
    def __init__(self) -> None:
        self.begun: Counter[TableName] = Counter()
        self.ended: list[TableName] = []
        self.rested = asyncio.Event()

    async def optimize(self, table: TableName) -> bool:
        self.begun[table] += 1
        if table == RESTING:
            await self.rested.wait()
        if table == FAILING:
            raise StoreUnavailable("not now")
        self.ended.append(table)
        return True


async def test_h5_a_table_that_rests_delays_no_other_table():
    store = RestingStore()
    queue = MaintenanceQueue(store, rest_s=0.001)
    queue.start()
    for table in (RESTING, FAILING, OTHER):
        queue.note_change(table)
    await until(lambda: store.begun == {RESTING: 1, FAILING: 1, OTHER: 1})
    for table in (RESTING, OTHER):
        queue.note_change(table)
    await until(lambda: store.begun[OTHER] == 2)
    assert store.begun[RESTING] == 1, "it is not optimised twice at the same time"
    store.rested.set()
    await until(lambda: store.begun == {RESTING: 2, FAILING: 1, OTHER: 2})
    await queue.stop()


async def test_h5_a_stop_ends_what_rests():
    store = RestingStore()
    queue = MaintenanceQueue(store, rest_s=0.001)
    queue.start()
    queue.note_change(RESTING)
    await until(lambda: store.begun[RESTING] == 1)
    async with asyncio.timeout(5):
        await queue.stop()
    assert store.ended == []
