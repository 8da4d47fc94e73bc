"""C6: what one lane waits for does not keep the other one from being pulled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from penstock.bus.clock import loop_now_s
from penstock.contract.names import Lane
from penstock.runtime.config.catalogue import Limits, RoleConfig
from services.worker.credentials.quota_keys import keys_of
from services.worker.rate_limit.quota import Need, Permit, QuotaKey
from tests.unit.worker.worker_parts import WorkerParts, catalogue_of

ROLE = RoleConfig(chain=("m",), concurrency=8, batch_concurrency=4)


class _Mailboxes:
    def __init__(self, limits: Limits | None = None) -> None:
        self.parts = WorkerParts(catalogue_of(ROLE, limits), ("A_KEY",))
        self.waiting = self.parts.waiting
        self.interactive = self.parts.gate("interactive")
        self.batch = self.parts.gate("batch")
        self.tasks: list[asyncio.Task[None]] = []

    async def wait_in_hand(self, lane: Lane, times: int) -> None:
        until_s = loop_now_s() + 60
        self.tasks += [
            asyncio.create_task(self.waiting.until("chat", lane, until_s, arrival))
            for arrival in range(times)
        ]
        while self.waiting.number("chat", lane) < times:
            await asyncio.sleep(0)


@pytest.fixture
async def boxes() -> AsyncIterator[_Mailboxes]:
    found = _Mailboxes(Limits(requests_per_minute=10))
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
    quota, now_s = boxes.parts.availability.quota, loop_now_s()
    ((key,),) = keys_of(boxes.parts.catalogue, {"p": ("A_KEY",)}).values()
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
    quota, now_s = boxes.parts.availability.quota, loop_now_s()
    ((key,),) = keys_of(boxes.parts.catalogue, {"p": ("A_KEY",)}).values()
    while isinstance(quota.try_acquire(key, Need(1), now_s), Permit):
        pass
    assert boxes.interactive.closed_s() > 0
    assert boxes.interactive.at_most(0) == 4


def _open_breaker(parts: WorkerParts, *, successes: int) -> None:
    breaker, now_s = parts.availability.breakers["m"], loop_now_s()
    for _ in range(successes):
        breaker.succeeded(breaker.admit(now_s), now_s)
    for _ in range(5):
        breaker.failed(breaker.admit(now_s), now_s)


async def test_d3_behind_open_breakers_it_opens_for_a_trial() -> None:
    alone = _Mailboxes()
    _open_breaker(alone.parts, successes=0)
    assert alone.interactive.closed_s() == pytest.approx(5, abs=0.1), "no call succeeded lately"
    assert alone.interactive.at_most(0) == 2
    alone = _Mailboxes()
    _open_breaker(alone.parts, successes=15)
    assert 0 < alone.interactive.closed_s() < 0.2


async def test_d3_where_another_worker_can_serve_the_role_it_stays_closed_until_a_probe() -> None:
    boxes = _Mailboxes()
    boxes.parts.hear_other_worker()
    _open_breaker(boxes.parts, successes=0)
    assert boxes.interactive.closed_s() == pytest.approx(15, abs=0.1)


async def test_d3_after_a_request_was_handed_back_nothing_is_pulled_for_a_moment() -> None:
    boxes = _Mailboxes()
    boxes.parts.hear_other_worker()
    boxes.parts.handover.handed_back("chat", loop_now_s())
    assert boxes.interactive.closed_s() == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("trouble", ["withdrawn", "refused", "unreachable"])
async def test_d3_a_worker_that_can_call_no_model_leaves_the_work_to_one_that_can(trouble: str) -> None:
    boxes, now_s = _Mailboxes(), loop_now_s()
    availability = boxes.parts.availability
    if trouble == "withdrawn":
        availability.roster.record_not_found("m", now_s)
    elif trouble == "refused":
        availability.refusals.record_refusal(QuotaKey("A_KEY", "m"), began_s=now_s, now_s=now_s)
    else:
        availability.connect_failures.record_failure("p", now_s)
    assert boxes.interactive.closed_s() == 0, "there is no other"
    boxes.parts.hear_other_worker()
    assert boxes.interactive.closed_s() > 0
    assert boxes.batch.closed_s() > 0
    if trouble == "unreachable":
        availability.connect_failures.record_connection("p")
        assert boxes.interactive.closed_s() == 0


async def test_d3_while_requests_in_hand_wait_for_trials_nothing_more_is_pulled() -> None:
    boxes = _Mailboxes()
    _open_breaker(boxes.parts, successes=100)
    await boxes.wait_in_hand("interactive", 2)
    await asyncio.sleep(0.1)
    assert boxes.interactive.closed_s() > 0
    boxes.waiting.wake()
    await asyncio.gather(*boxes.tasks)
    assert boxes.interactive.closed_s() == 0
