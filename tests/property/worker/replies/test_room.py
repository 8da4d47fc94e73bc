"""E2: whatever workers write, and whichever start or die, the stream stays within its bound, and room is used."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from tests.harness.suite.examples import examples
from tests.harness.suite.virtual_time import run
from tests.unit.worker.replies.shared_stream import (
    ALLOWANCE,
    FREE,
    LATE_S,
    SCARCE,
    WINDOW,
    WINDOWS,
    Store,
    Worker,
)

ACCOUNTS = "ab"
MOST_WAIT_S = 0.1 + 6 * LATE_S
"""Of a reply that has its permit, or needs none, while the stream has room: a pause, and a few looks. Others of its
account in the same worker may have their turn before.
"""
END_S = 600.0
"""Seconds in which all replies end once the stream has room."""


class Write(Struct, frozen=True):
    worker: int
    account: str
    size: int
    piece: int
    pause_s: float
    number: int


class Change(Struct, frozen=True):
    after_s: float
    starts: bool
    dies: int | None
    deleted_to: float | None
    """The share of `SCARCE` that a router leaves."""


writes = st.builds(
    Write,
    worker=st.integers(0, 3),
    account=st.sampled_from(ACCOUNTS),
    size=st.sampled_from([2_000, FREE // 2, FREE, 4 * WINDOW, 15 * WINDOW]),
    piece=st.sampled_from([2_000 * 16, FREE // 4, FREE, 5 * WINDOW]),
    pause_s=st.sampled_from([0.0, 0.0, 0.01, 0.05]),
    number=st.sampled_from([1, 3, 12]),
)
changes = st.builds(
    Change,
    after_s=st.sampled_from([0.0, 0.05, 0.5]),
    starts=st.booleans(),
    dies=st.none() | st.integers(0, 3),
    deleted_to=st.none() | st.sampled_from([0.9, 0.99, 1.0]),
)
waits = st.builds(
    Change,
    after_s=st.sampled_from([0.05, 0.5]),
    starts=st.just(False),
    dies=st.none(),
    deleted_to=st.none() | st.sampled_from([0.9, 0.99, 1.0]),
)


class System:
    """Workers that know how many they are."""

    def __init__(self, stored: int, workers: int) -> None:
        self.store = Store(stored)
        self.begun = 0
        self.fewest = workers
        self.largest_piece = 0
        self.alive: dict[Worker, list[asyncio.Task[float]]] = {}
        for _ in range(workers):
            self.start()

    def start(self) -> None:
        self.begun += 1
        self.alive[Worker(self.store, lambda: len(self.alive))] = []

    async def die(self, number: int) -> None:
        if len(self.alive) > 1:
            tasks = self.alive.pop(list(self.alive)[number % len(self.alive)])
            self.fewest = min(self.fewest, len(self.alive))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def write(self, step: Write) -> None:
        worker = list(self.alive)[step.worker % len(self.alive)]
        self.largest_piece = max(self.largest_piece, step.piece)
        self.alive[worker] += [
            asyncio.create_task(
                worker.write(step.account, max(step.size, step.piece), step.piece, pause_s=step.pause_s)
            )
            for _ in range(step.number)
        ]

    def limit(self, stored: int) -> int:
        """The most that may be stored: what each worker may write while there is no room, at the time when it knew of
        the fewest others, and of pieces larger than a window one in each worker.
        """
        small = len(ACCOUNTS) * max(ALLOWANCE // self.fewest, FREE)
        large = max(1, 8 // self.fewest) * WINDOWS // max(self.fewest, 8)
        piece = self.largest_piece if self.largest_piece > WINDOW else 0
        return max(SCARCE, stored) + self.begun * (small + large + piece)

    async def run(self, steps: list[Write | Change]) -> None:
        for step in steps:
            if isinstance(step, Write):
                self.write(step)
                continue
            await asyncio.sleep(step.after_s)
            if step.starts and len(self.alive) < 4:
                self.start()
            if step.dies is not None:
                await self.die(step.dies)
            if step.deleted_to is not None:
                self.store.delete_to(min(self.store.stored, int(step.deleted_to * SCARCE)))
        await asyncio.sleep(1.0)

    async def end(self) -> list[float]:
        """The longest wait of each reply; from now on the stream has room."""
        tasks = [task for tasks in self.alive.values() for task in tasks]
        async with asyncio.timeout(END_S):
            while not all(task.done() for task in tasks):
                self.store.delete_to(min(self.store.stored, SCARCE // 2))
                await asyncio.sleep(0.1)
        return [task.result() for task in tasks]


async def check(stored: int, workers: int, steps: list[Write | Change]) -> None:
    system = System(stored, workers)
    await system.run(steps)
    assert system.store.most <= system.limit(stored)
    waits_s = await system.end()
    if not any(
        isinstance(step, Write) and step.pause_s for step in steps
    ):  # else what others took is not written yet
        assert max(waits_s, default=0.0) <= MOST_WAIT_S * max(1, len(waits_s)), "a reply waited beside room"


stored = st.sampled_from([0, SCARCE - WINDOW, SCARCE, SCARCE + WINDOWS])


@settings(max_examples=examples(150), deadline=None)
@given(stored, st.integers(1, 4), st.lists(writes | waits, max_size=8))
def test_e2_the_stream_stays_within_its_bound_and_no_reply_waits_while_there_is_room(
    stored: int, workers: int, steps: list[Write | Change]
) -> None:
    run(check(stored, workers, steps))


@settings(max_examples=examples(150), deadline=None)
@given(stored, st.integers(1, 4), st.lists(writes | changes, max_size=8))
def test_e2_so_it_is_where_workers_start_and_die(
    stored: int, workers: int, steps: list[Write | Change]
) -> None:
    run(check(stored, workers, steps))
