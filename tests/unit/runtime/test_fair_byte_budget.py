"""D9: the bytes that owners share."""

from __future__ import annotations

import asyncio

import pytest

from penstock.runtime.byte_budget import FairByteBudget


class Holder:
    def __init__(self, budget: FairByteBudget, size: int, owner: str) -> None:
        self._budget, self._size, self._owner = budget, size, owner
        self._leave = asyncio.Event()
        self.holds = False
        self.task = asyncio.create_task(self._hold())

    async def _hold(self) -> None:
        async with self._budget.hold(self._size, self._owner):
            self.holds = True
            await self._leave.wait()

    async def leave(self) -> None:
        self._leave.set()
        await self.task
        await settled()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def holders(budget: FairByteBudget, owner: str, *sizes: int) -> list[Holder]:
    made = [Holder(budget, size, owner) for size in sizes]
    await settled()
    return made


async def test_d9_a_queue_of_one_owner_delays_no_other() -> None:
    budget = FairByteBudget(10)
    many = await holders(budget, "a", *[2] * 20)
    (one,) = await holders(budget, "b", 5)
    assert [each.holds for each in many] == [True] * 2 + [False] * 18
    assert [each.holds for each in (one,)] == [True]
    (third,) = await holders(budget, "c", 2)
    await many[0].leave()
    assert [each.holds for each in (*many[2:4], third)] == [False, False, True]
    for each in (*many[1:], one, third):
        each.task.cancel()
    await asyncio.gather(*(each.task for each in (*many[1:], one, third)), return_exceptions=True)
    assert (await holders(budget, "d", 10))[0].holds


async def test_d9_owners_take_turns_and_a_large_request_is_held_alone() -> None:
    budget = FairByteBudget(10)
    (first,) = await holders(budget, "a", 50)
    (second,) = await holders(budget, "a", 50)
    (other,) = await holders(budget, "b", 50)
    assert (first.holds, second.holds, other.holds) == (True, False, False)
    await first.leave()
    (last,) = await holders(budget, "a", 50)
    turns: list[list[bool]] = []
    for each in (second, other, last):
        turns.append([one.holds for one in (second, other, last)])
        await each.leave()
    assert turns == [[True, False, False], [True, True, False], [True, True, True]]


async def test_d9_a_cancelled_request_makes_way_for_the_next() -> None:
    budget = FairByteBudget(10)
    first, waiting, next_ = await holders(budget, "a", 5, 3, 1)
    waiting.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting.task
    assert [first.holds, next_.holds] == [True, False]
    await first.leave()
    assert [next_.holds] == [True]
