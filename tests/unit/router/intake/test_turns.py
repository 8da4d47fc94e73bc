"""The accounts of received requests take turns, and none uses every slot."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from services.router.intake.turns import AccountTurns


class Handled:
    """Requests that are handled until the test ends them."""

    def __init__(self, slots: int, most: int | None = None) -> None:
        self.turns = AccountTurns(slots, slots if most is None else most)
        self.running: list[tuple[str, int]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._ends: dict[tuple[str, int], asyncio.Event] = {}

    async def arrive(self, account: str, *numbers: int) -> None:
        for number in numbers:
            self.tasks.append(asyncio.create_task(self._handle(account, number)))
        await self._settled()

    async def end(self, account: str, number: int) -> None:
        self._ends[account, number].set()
        await self._settled()

    def of(self, account: str) -> list[int]:
        return [number for sender, number in self.running if sender == account]

    async def _handle(self, account: str, number: int) -> None:
        self._ends[account, number] = asyncio.Event()
        await self.turns.enter(account)
        try:
            self.running.append((account, number))
            await self._ends[account, number].wait()
        finally:
            self.running.remove((account, number))
            self.turns.leave(account)

    async def _settled(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


async def test_one_account_uses_half_of_the_slots_and_another_starts_at_once():
    handled = Handled(8)
    await handled.arrive("flood", *range(100))
    assert handled.of("flood") == [0, 1, 2, 3]
    await handled.arrive("other", 1)
    assert handled.of("other") == [1]


async def test_one_account_uses_no_more_than_its_most_while_others_are_free():
    handled = Handled(8, most=2)
    await handled.arrive("flood", *range(100))
    assert handled.of("flood") == [0, 1]
    await handled.arrive("other", 1, 2, 3)
    assert handled.of("other") == [1, 2]
    await handled.end("flood", 0)
    assert handled.of("flood") == [1, 2]


async def test_those_that_wait_take_turns_in_their_own_order():
    handled = Handled(1)
    await handled.arrive("a", 1, 2, 3)
    await handled.arrive("b", 1, 2)
    await handled.arrive("c", 1)
    order = []
    while handled.running:
        (running,) = handled.running
        order.append(running)
        await handled.end(*running)
    assert order == [("a", 1), ("a", 2), ("b", 1), ("c", 1), ("a", 3), ("b", 2)]


async def test_a_cancelled_request_gives_its_place_to_the_next():
    handled = Handled(1)
    await handled.arrive("a", 1, 2, 3)
    handled.tasks[1].cancel()
    await handled.end("a", 1)
    assert handled.of("a") == [3]


async def test_a_request_cancelled_at_its_turn_gives_the_slot_back():
    turns = AccountTurns(1, 1)
    await turns.enter("a")
    waiting = asyncio.create_task(turns.enter("a"))
    await asyncio.sleep(0)
    turns.leave("a")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(1):
        await turns.enter("a")


async def test_many_accounts_share_the_slots_evenly():
    handled = Handled(16)
    for account in "abc":
        await handled.arrive(account, *range(50))
    for _ in range(30):
        await handled.end(*handled.running[0])
    counts = Counter(account for account, _ in handled.running)
    assert max(counts.values()) - min(counts.values()) <= 1
    for task in handled.tasks:
        task.cancel()
