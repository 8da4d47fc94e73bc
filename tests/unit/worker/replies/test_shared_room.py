"""Several workers write large replies into one stream, which never overflows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.unit.worker.replies.shared_stream import ALLOWANCE, BOUND, MIB, SCARCE, WINDOWS, Store, Worker

LARGE = 15 * MIB
PIECE = 32 * 1024
STANDSTILL_S = 1.0
AT_ONCE = 20


@asynccontextmanager
async def written_by(writing: list[asyncio.Task[float]], store: Store) -> AsyncIterator[None]:
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
        asyncio.create_task(room.write(accounts[number % len(accounts)], LARGE, PIECE))
        for room in rooms
        for number in range(AT_ONCE)
    ]
    async with written_by(writing, store):
        assert SCARCE < store.most <= SCARCE + WINDOWS + len(accounts) * ALLOWANCE
        store.delete_to(SCARCE - 8 * MIB)
        await asyncio.sleep(STANDSTILL_S)
        assert store.stored > SCARCE, "they write on where there is room again"
    assert not [task for task in writing if task.done() and not task.cancelled() and task.exception()]


async def test_e2_large_replies_begun_while_there_is_no_room_stay_within_the_stream() -> None:
    """The first bytes of each need no permit."""
    store = Store(SCARCE + WINDOWS)
    rooms = [Worker(store, lambda: 4) for _ in range(4)]
    writing = [
        asyncio.create_task(room.write(account, LARGE, PIECE)) for room in rooms for account in "ab" * AT_ONCE
    ]
    async with written_by(writing, store):
        assert store.most <= SCARCE + WINDOWS + 2 * ALLOWANCE


async def test_e2_workers_that_start_know_of_the_others_only_later() -> None:
    store, seen = Store(), 1
    rooms = [Worker(store, lambda: seen) for _ in range(2)]
    writing = [asyncio.create_task(room.write("a", LARGE, PIECE)) for room in rooms for _ in range(AT_ONCE)]
    await asyncio.sleep(0.2)
    rooms += [Worker(store, lambda: 4) for _ in range(2)]
    seen = 2
    writing += [
        asyncio.create_task(room.write("b", LARGE, PIECE)) for room in rooms[2:] for _ in range(AT_ONCE)
    ]
    async with written_by(writing, store):
        assert SCARCE < store.most < BOUND


async def test_e2_the_others_write_on_after_a_worker_died() -> None:
    store = Store()
    rooms = [Worker(store, lambda: 2) for _ in range(2)]
    dying, writing = (
        [asyncio.create_task(room.write("a", LARGE, PIECE)) for _ in range(AT_ONCE)] for room in rooms
    )
    await asyncio.sleep(0.2)
    for task in dying:
        task.cancel()
    await asyncio.gather(*dying, return_exceptions=True)
    async with written_by(writing, store):
        assert SCARCE < store.most <= SCARCE + WINDOWS + ALLOWANCE
