"""Several workers write large replies into one stream, which never overflows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

from services.worker.metrics import WorkerMetrics
from services.worker.replies.room import ReplyRoom

KIB = 1024
BOUND = 256 * KIB * KIB
SCARCE = 29 * BOUND // 32
WINDOWS = BOUND // 32
ALLOWANCE = BOUND // 64
LARGE = 15 * KIB * KIB
PIECE = 32 * KIB
LATE_S = 0.02
"""Seconds for which a piece is on its way to the store."""
STANDSTILL_S = 1.0
AT_ONCE = 20


class Store:
    """The stream, which stores each piece a while after it was sent, in the order of each worker."""

    def __init__(self) -> None:
        self.stored = 0
        self.most = 0

    def store(self, size: int) -> None:
        self.stored += size
        self.most = max(self.most, self.stored)


class Worker:
    def __init__(self, store: Store, workers: Callable[[], int]) -> None:
        self._store = store
        self.room = ReplyRoom(BOUND, self._size, workers, WorkerMetrics(CollectorRegistry()))

    async def _size(self) -> int:
        """What was sent before is stored then, as after an acknowledgement."""
        await asyncio.sleep(LATE_S)
        return self._store.stored

    async def write(self, account: str, size: int = LARGE) -> None:
        loop = asyncio.get_running_loop()
        async with self.room.space(account) as space:
            while space.written < size:
                if space.written + PIECE > space.granted:
                    await space.extend(PIECE)
                space.written += PIECE
                loop.call_later(LATE_S, self._store.store, PIECE)
                if not space.written % (16 * PIECE):
                    await asyncio.sleep(0)


@asynccontextmanager
async def written_by(writing: list[asyncio.Task[None]], store: Store) -> AsyncIterator[None]:
    """Inside, nothing was stored for a moment: all wait, or have ended."""
    try:
        before = -1
        while before != store.stored:
            before = store.stored
            await asyncio.sleep(STANDSTILL_S)
        yield
    finally:
        for task in writing:
            task.cancel()
        await asyncio.gather(*writing, return_exceptions=True)


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("accounts", ["a", "ab"])
async def test_e2_large_replies_of_all_workers_together_stay_within_the_stream(
    workers: int, accounts: str
) -> None:
    store = Store()
    rooms = [Worker(store, lambda: workers) for _ in range(workers)]
    writing = [
        asyncio.create_task(room.write(accounts[number % len(accounts)]))
        for room in rooms
        for number in range(AT_ONCE)
    ]
    async with written_by(writing, store):
        assert SCARCE < store.most <= SCARCE + WINDOWS + len(accounts) * ALLOWANCE
        store.stored = SCARCE - 8 * KIB * KIB
    assert not [task for task in writing if task.done() and not task.cancelled() and task.exception()]


async def test_e2_large_replies_begun_while_there_is_no_room_stay_within_the_stream() -> None:
    """The first bytes of each need no permit."""
    store = Store()
    store.store(SCARCE + WINDOWS)
    rooms = [Worker(store, lambda: 4) for _ in range(4)]
    writing = [asyncio.create_task(room.write(account)) for room in rooms for account in "ab" * AT_ONCE]
    async with written_by(writing, store):
        assert store.most <= SCARCE + WINDOWS + 2 * ALLOWANCE


async def test_e2_workers_that_start_know_of_the_others_only_later() -> None:
    store, seen = Store(), 1
    rooms = [Worker(store, lambda: seen) for _ in range(2)]
    writing = [asyncio.create_task(room.write("a")) for room in rooms for _ in range(AT_ONCE)]
    await asyncio.sleep(0.2)
    rooms += [Worker(store, lambda: 4) for _ in range(2)]
    seen = 2
    writing += [asyncio.create_task(room.write("b")) for room in rooms[2:] for _ in range(AT_ONCE)]
    async with written_by(writing, store):
        assert SCARCE < store.most < BOUND


async def test_e2_the_others_write_on_after_a_worker_died() -> None:
    store = Store()
    rooms = [Worker(store, lambda: 2) for _ in range(2)]
    dying, writing = ([asyncio.create_task(room.write("a")) for _ in range(AT_ONCE)] for room in rooms)
    await asyncio.sleep(0.2)
    for task in dying:
        task.cancel()
    await asyncio.gather(*dying, return_exceptions=True)
    async with written_by(writing, store):
        assert SCARCE < store.most <= SCARCE + WINDOWS + ALLOWANCE
