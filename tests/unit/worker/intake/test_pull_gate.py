"""C3, C6, D3: when the mailbox of a lane is pulled from, and how many slots batch work has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from penstock.bus.clock import loop_now_s
from penstock.contract.names import Lane
from penstock.runtime.config.catalogue import Limits, RoleConfig
from services.worker.intake.pull_gate import batch_slots
from services.worker.rate_limit.quota import Need, Permit, QuotaKey
from services.worker.rate_limit.quota_keys import keys_of
from tests.unit.worker.worker_parts import WorkerParts, catalogue_of

ROLE = RoleConfig(chain=("m",), slots_per_worker=8, batch_slots_per_worker=4)


class _Mailboxes:
    def __init__(self, limits: Limits | None = None) -> None:
        self.parts = WorkerParts(catalogue_of(ROLE, limits), ("A_KEY",))
        self.waiting = self.parts.waiting
        self.interactive = self.parts.gate("interactive")
        self.batch = self.parts.gate("batch")
        self.tasks: list[asyncio.Task[None]] = []

    async def wait(self, lane: Lane, times: int) -> None:
        until_s = loop_now_s() + 60
        self.tasks += [
            asyncio.create_task(self.waiting.wait_until("chat", lane, until_s, arrival))
            for arrival in range(times)
        ]
        while self.waiting.count("chat", lane) < times:
            await asyncio.sleep(0)


@pytest.fixture
async def boxes() -> AsyncIterator[_Mailboxes]:
    found = _Mailboxes(Limits(requests_per_minute=10))
    yield found
    found.waiting.wake()
    await asyncio.gather(*found.tasks)


async def test_c6_waiting_batch_work_does_not_stop_interactive_pulls(boxes: _Mailboxes) -> None:
    await boxes.wait("batch", 4)
    assert boxes.interactive.closed_s() == 0.0
    assert boxes.batch.closed_s() > 0.0


async def test_c6_waiting_interactive_work_does_not_stop_batch_pulls(boxes: _Mailboxes) -> None:
    await boxes.wait("interactive", 7)
    assert boxes.interactive.closed_s() > 0.0
    assert boxes.batch.closed_s() == 0.0


@pytest.mark.parametrize(("lane", "most"), [("interactive", 4), ("batch", 2)])
async def test_c6_each_lane_closes_when_half_of_its_slots_wait(
    boxes: _Mailboxes, lane: Lane, most: int
) -> None:
    gate = boxes.interactive if lane == "interactive" else boxes.batch
    await boxes.wait(lane, most - 1)
    assert gate.closed_s() == 0.0
    await boxes.wait(lane, most)
    assert gate.closed_s() > 0.0


async def test_c3_the_gate_opens_when_a_model_has_quota_again(boxes: _Mailboxes) -> None:
    quota, now_s = boxes.parts.availability.quota, loop_now_s()
    ((key,),) = keys_of(boxes.parts.catalogue, {"p": ("A_KEY",)}).values()
    while isinstance(quota.try_acquire(key, Need(1), now_s), Permit):
        pass
    assert boxes.interactive.closed_s() == pytest.approx(60, abs=1)


async def test_c3_with_scarce_quota_a_few_more_requests_are_taken(boxes: _Mailboxes) -> None:
    assert boxes.interactive.at_most(0) == 8
    await boxes.wait("interactive", 3)
    assert boxes.interactive.at_most(3) == 4
    assert boxes.interactive.at_most(6) == 7, "three of them call a provider"
    assert boxes.interactive.at_most(8) == 8
    assert boxes.batch.at_most(0) == 4, "no batch request waits"


async def test_c3_quota_is_scarce_for_a_moment_after_it_was_used_up(boxes: _Mailboxes) -> None:
    quota, now_s = boxes.parts.availability.quota, loop_now_s()
    ((key,),) = keys_of(boxes.parts.catalogue, {"p": ("A_KEY",)}).values()
    while isinstance(quota.try_acquire(key, Need(1), now_s), Permit):
        pass
    assert boxes.interactive.closed_s() > 0
    assert boxes.interactive.at_most(0) == 4


async def test_h2_embed_requests_are_taken_without_quota(boxes: _Mailboxes) -> None:
    quota, now_s = boxes.parts.availability.quota, loop_now_s()
    ((key,),) = keys_of(boxes.parts.catalogue, {"p": ("A_KEY",)}).values()
    while isinstance(quota.try_acquire(key, Need(1), now_s), Permit):
        pass
    gate = boxes.parts.gate("interactive", "embed")
    assert gate.closed_s() == 0, "their texts may be known, or be in a call in flight"
    await boxes.wait("interactive", 1)
    assert gate.at_most(0) == 64
    _open_breaker(boxes.parts, successes=0)
    assert gate.closed_s() > 0


def _open_breaker(parts: WorkerParts, *, successes: int) -> None:
    breaker, now_s = parts.availability.breakers["m"], loop_now_s()
    for _ in range(successes):
        breaker.succeeded(breaker.admit(now_s), now_s)
    for _ in range(5):
        breaker.failed(breaker.admit(now_s), now_s)


async def test_d3_with_open_breakers_the_gate_opens_for_a_trial() -> None:
    alone = _Mailboxes()
    _open_breaker(alone.parts, successes=0)
    assert alone.interactive.closed_s() == pytest.approx(5, abs=0.1), "no call succeeded lately"
    assert alone.interactive.at_most(0) == 2
    alone = _Mailboxes()
    _open_breaker(alone.parts, successes=15)
    assert 0 < alone.interactive.closed_s() < 0.2


async def test_d3_beside_an_able_worker_the_gate_stays_closed_until_a_probe() -> None:
    boxes = _Mailboxes()
    boxes.parts.hear_other_worker()
    _open_breaker(boxes.parts, successes=0)
    assert boxes.interactive.closed_s() == pytest.approx(15, abs=0.1)


async def test_d3_handing_back_closes_the_gate_for_a_moment() -> None:
    boxes = _Mailboxes()
    boxes.parts.hear_other_worker()
    boxes.parts.hand_back.record_hand_back("chat", loop_now_s())
    assert boxes.interactive.closed_s() == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("trouble", ["withdrawn", "refused", "unreachable"])
async def test_d3_a_worker_without_callable_models_closes_its_gate(trouble: str) -> None:
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


async def test_d3_requests_waiting_for_trials_close_the_gate() -> None:
    boxes = _Mailboxes()
    _open_breaker(boxes.parts, successes=100)
    await boxes.wait("interactive", 2)
    await asyncio.sleep(0.1)
    assert boxes.interactive.closed_s() > 0
    boxes.waiting.wake()
    await asyncio.gather(*boxes.tasks)
    assert boxes.interactive.closed_s() == 0


@pytest.mark.parametrize(
    ("running", "allowed"), [(0, 4), (15, 4), (16, 1), (19, 1)], ids=["idle", "one free", "full", "over"]
)
def test_c6_batch_has_one_slot_while_interactive_has_none_free(running: int, allowed: int):
    assert batch_slots(4, interactive=16, running=running) == allowed


def test_c6_zero_batch_slots_stay_zero():
    assert batch_slots(0, interactive=16, running=16) == 0
