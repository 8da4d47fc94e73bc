"""The bound on large bodies in memory."""

from __future__ import annotations

import asyncio

import pytest

from penstock.runtime.byte_budget import ByteBudget


class Holder:
    def __init__(self, budget: ByteBudget, size: int) -> None:
        self._budget, self._size = budget, size
        self._leave = asyncio.Event()
        self.holds = False
        self.task = asyncio.create_task(self._hold())

    async def _hold(self) -> None:
        async with self._budget.hold(self._size):
            self.holds = True
            await self._leave.wait()

    async def leave(self) -> None:
        self._leave.set()
        await self.task
        await settled()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def holders(budget: ByteBudget, *sizes: int) -> list[Holder]:
    made = [Holder(budget, size) for size in sizes]
    await settled()
    return made


async def test_bodies_beyond_the_bound_wait_in_the_order_of_arrival() -> None:
    first, second, third, fourth = await holders(ByteBudget(10), 6, 4, 5, 1)
    assert [each.holds for each in (first, second, third, fourth)] == [True, True, False, False]
    await second.leave()
    assert (third.holds, fourth.holds) == (False, False)
    await first.leave()
    assert (third.holds, fourth.holds) == (True, True)
    await third.leave()
    await fourth.leave()


async def test_a_body_above_the_bound_is_held_alone() -> None:
    large, small = await holders(ByteBudget(10), 50, 1)
    assert (large.holds, small.holds) == (True, False)
    await large.leave()
    assert small.holds
    await small.leave()


async def test_a_waiting_body_that_is_cancelled_makes_way_for_the_next() -> None:
    first, waiting, next_ = await holders(ByteBudget(10), 9, 9, 1)
    waiting.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting.task
    await settled()
    assert next_.holds
    await first.leave()
    await next_.leave()


async def test_a_body_that_finds_no_space_need_not_wait() -> None:
    budget = ByteBudget(10)
    assert [budget.try_hold(size, "a") for size in (6, 5, 4)] == [True, False, True]
    (waiting,) = await holders(budget, 5)
    assert not waiting.holds
    budget.release(6, "a")
    await settled()
    assert waiting.holds
    assert not budget.try_hold(2, "a")
    await waiting.leave()


async def test_d9_one_owner_cannot_hold_more_than_its_share() -> None:
    budget = ByteBudget(10, share=6)
    assert [budget.try_hold(size, "a") for size in (4, 3, 2, 1)] == [True, False, True, False]
    assert [budget.try_hold(size, "b") for size in (5, 4)] == [False, True]
    budget.release(2, "a")
    assert [budget.try_hold(2, "b"), budget.try_hold(1, "a")] == [True, False]
    budget.release(4, "a")
    assert budget.try_hold(4, "a")
