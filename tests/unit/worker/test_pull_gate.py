"""C6: what one lane waits for does not keep the other one from being pulled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from penstock.clock import loop_now_s
from penstock.config.catalogue import Limits, RoleConfig
from schemas.names import Lane
from services.worker.equipment import Equipment
from services.worker.keys.quota_keys import keys_of
from services.worker.limits.quota import Need, Permit
from services.worker.pull_gate import PullGate
from services.worker.waiting import Waiting
from tests.unit.worker.equipped import catalogue_of, equipped

ROLE = RoleConfig(chain=("m",), concurrency=8, batch_concurrency=4)


class _Mailboxes:
    def __init__(self, equipment: Equipment) -> None:
        self.equipment = equipment
        self.waiting = Waiting()
        self.interactive = PullGate(equipment, self.waiting, "chat", "interactive")
        self.batch = PullGate(equipment, self.waiting, "chat", "batch")
        self.tasks: list[asyncio.Task[None]] = []

    async def wait_in_hand(self, lane: Lane, times: int) -> None:
        until_s = loop_now_s() + 60
        self.tasks += [
            asyncio.create_task(self.waiting.until("chat", lane, until_s, turn)) for turn in range(times)
        ]
        while self.waiting.number("chat", lane) < times:
            await asyncio.sleep(0)


@pytest.fixture
async def boxes() -> AsyncIterator[_Mailboxes]:
    found = _Mailboxes(equipped(catalogue_of(ROLE, Limits(requests_per_minute=10)), ("A_KEY",)))
    yield found
    found.waiting.wake()
    await asyncio.gather(*found.tasks)


async def test_batch_work_that_the_reserve_holds_back_does_not_stop_interactive_pulls_c6(
    boxes: _Mailboxes,
) -> None:
    await boxes.wait_in_hand("batch", 4)
    assert boxes.interactive.closed_s() == 0.0
    assert boxes.batch.closed_s() > 0.0


async def test_interactive_work_that_waits_does_not_stop_batch_pulls_c6(boxes: _Mailboxes) -> None:
    await boxes.wait_in_hand("interactive", 7)
    assert boxes.interactive.closed_s() > 0.0
    assert boxes.batch.closed_s() == 0.0


@pytest.mark.parametrize(("lane", "most"), [("interactive", 4), ("batch", 2)])
async def test_each_lane_is_held_against_half_of_its_own_slots_c6(
    boxes: _Mailboxes, lane: Lane, most: int
) -> None:
    gate = boxes.interactive if lane == "interactive" else boxes.batch
    await boxes.wait_in_hand(lane, most - 1)
    assert gate.closed_s() == 0.0
    await boxes.wait_in_hand(lane, most)
    assert gate.closed_s() > 0.0


async def test_a_mailbox_opens_when_its_models_have_quota_again_c3(boxes: _Mailboxes) -> None:
    quota, now_s = boxes.equipment.availability.quota, loop_now_s()
    ((key,),) = keys_of(boxes.equipment.catalogue, {"p": ("A_KEY",)}).values()
    while isinstance(quota.try_acquire(key, Need(1), now_s), Permit):
        pass
    assert boxes.interactive.closed_s() == pytest.approx(60, abs=1)


async def test_where_quota_is_scarce_a_worker_takes_a_few_more_than_have_it_c3(boxes: _Mailboxes) -> None:
    """What waits in one worker's hands is passed over by what comes to another worker later."""
    assert boxes.interactive.at_most(0) == 8
    await boxes.wait_in_hand("interactive", 3)
    assert boxes.interactive.at_most(3) == 4
    assert boxes.interactive.at_most(6) == 7, "three of them are called"
    assert boxes.interactive.at_most(8) == 8
    assert boxes.batch.at_most(0) == 4, "nobody waits there"


async def test_where_quota_was_gone_a_moment_ago_it_is_scarce_c3(boxes: _Mailboxes) -> None:
    quota, now_s = boxes.equipment.availability.quota, loop_now_s()
    ((key,),) = keys_of(boxes.equipment.catalogue, {"p": ("A_KEY",)}).values()
    while isinstance(quota.try_acquire(key, Need(1), now_s), Permit):
        pass
    assert boxes.interactive.closed_s() > 0
    assert boxes.interactive.at_most(0) == 4
