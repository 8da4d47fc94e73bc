"""C3: the gate reserves a place in the mailbox with its decision, and releases it if the request is not stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from penstock.bus.clock import SYSTEM
from services.router.admission.gate import AdmissionGate, QueueReservation
from services.router.queues.backlog_poller import BacklogPoller
from services.router.queues.byte_limits import ByteLimits
from services.router.queues.roles_in_use import RolesInUse
from services.router.queues.stream_bytes import StreamFill
from services.router.routing.outcome import Rejected
from tests.harness.requests.routed_requests import routed
from tests.unit.router.admission.test_controller import Scene, minute, quota, status

FREE = 3


@pytest.fixture
def scene() -> Scene:
    """Quota for three more requests before their deadline."""
    scene = Scene()
    scene.heartbeat(quota("small", minute(FREE)), quota("large", minute(0)))
    scene.count()
    return scene


def gate(
    scene: Scene, limits: ByteLimits | None = None, recount: Callable[[], None] | None = None
) -> AdmissionGate:
    class Current(BacklogPoller):
        """Never asks a server."""

        def __init__(self) -> None:
            self.backlog = scene.backlog

        async def has_newer_than(self, counted_s: float | None) -> bool:
            if recount is not None:
                recount()
            return scene.backlog.counted_s != counted_s

    in_use = RolesInUse((), scene.backlog, asyncio.Event(), SYSTEM)
    return AdmissionGate(scene.controller, limits or ByteLimits(scene.backlog), Current(), in_use)


async def admit(admission: AdmissionGate, scene: Scene) -> QueueReservation | Rejected:
    return await admission.admit(routed(scene.work()), accepted_before=False)


async def test_c3_of_many_concurrent_requests_only_those_with_quota_are_admitted(scene: Scene) -> None:
    """None of them is stored yet."""
    admission = gate(scene)
    outcomes = await asyncio.gather(*(admit(admission, scene) for _ in range(128)))
    assert sum(isinstance(each, QueueReservation) for each in outcomes) == FREE


async def test_c3_a_reservation_is_released_on_an_error_and_kept_on_commit(
    scene: Scene,
) -> None:
    admission = gate(scene)
    for _ in range(5 * FREE):
        reservation = await admit(admission, scene)
        assert isinstance(reservation, QueueReservation)
        with pytest.raises(OSError, match="lost"), reservation:
            raise OSError("lost")
    for _ in range(FREE):
        reservation = await admit(admission, scene)
        assert isinstance(reservation, QueueReservation)
        with reservation:
            reservation.commit()
    assert isinstance(await admit(admission, scene), Rejected)


async def test_c3_a_reservation_counts_beside_a_newer_backlog_count(scene: Scene) -> None:
    admission = gate(scene)
    reservations = [await admit(admission, scene) for _ in range(FREE)]
    assert all(isinstance(each, QueueReservation) for each in reservations)
    scene.count()
    assert isinstance(await admit(admission, scene), Rejected)


async def test_c3_a_request_accepted_before_is_not_decided_again_but_counts(scene: Scene) -> None:
    admission = gate(scene)
    for _ in range(FREE):
        assert isinstance(await admission.admit(routed(scene.work()), accepted_before=True), QueueReservation)
    assert isinstance(await admission.admit(routed(scene.work()), accepted_before=True), QueueReservation)
    assert isinstance(await admit(admission, scene), Rejected)


async def test_c3_an_evaluation_gives_the_decision_and_reserves_nothing(scene: Scene) -> None:
    admission = gate(scene)
    for _ in range(5 * FREE):
        rejected, forecast = await admission.evaluate(routed(scene.work()))
        assert rejected is None
        assert forecast.retry_after_s is None
    for _ in range(FREE):
        assert isinstance(await admit(admission, scene), QueueReservation)
    evaluated, forecast = await admission.evaluate(routed(scene.work()))
    rejected = await admit(admission, scene)
    assert isinstance(rejected, Rejected)
    assert evaluated == rejected
    assert forecast.retry_after_s == rejected.retry_after_s
    assert (
        "too late to end before its deadline in 15.0 s; set a longer timeout, or try again in"
        in rejected.message
    )


async def test_c3_a_rejection_says_why_a_retry_is_worth_it_before_the_forecast_start() -> None:
    """Thirty requests may have been served since the heartbeat; without that estimate there is quota for twenty."""
    scene = Scene()
    limits = quota("small", minute(20, (50_000, 60))), quota("large", minute(0))
    scene.heartbeat(*limits, roles=(status(ended=0),))
    scene.now_s += 2.0
    scene.heartbeat(*limits, roles=(status(ended=60),))
    scene.now_s += 1.0
    scene.count()
    early = await admit(gate(scene), scene)
    assert isinstance(early, Rejected)
    assert early.message.endswith(
        "set a longer timeout, or try again in 2.5 s, when workers have reported again: the forecast rests on estimates"
    )

    scene.count(chat=25)
    certain = await admit(gate(scene), scene)
    assert isinstance(certain, Rejected)
    assert certain.message.endswith(f"set a longer timeout, or try again in {certain.retry_after_s:g} s")


async def test_c3_an_evaluation_rejects_a_body_that_exceeds_the_byte_limits(scene: Scene) -> None:
    limits = ByteLimits(scene.backlog)
    limits.begin_count()
    limits.snapshot(StreamFill(0, 1000), StreamFill(0, 1000))
    rejected, _ = await gate(scene, limits).evaluate(routed(scene.work()))
    assert rejected is not None
    assert "mailboxes" in rejected.message


async def test_c6_a_body_is_rejected_only_after_a_new_count(scene: Scene) -> None:
    """The request before it has ended since the last one."""
    limits, counts = ByteLimits(scene.backlog), 0

    def fill(held: int) -> None:
        limits.begin_count()
        limits.snapshot(StreamFill(held, 100 * 2**20), StreamFill(0, 0))

    def recount() -> None:
        nonlocal counts
        counts += 1
        scene.backlog.counted_s = counts
        fill(0)

    fill(100 * 2**20)
    wanted = routed(scene.work(lane="batch"))
    rejected, _ = await gate(scene, limits, recount).evaluate(wanted)
    assert (rejected, counts) == (None, 1)
