"""C3, B4: a decision from heartbeats and backlog counts."""

from __future__ import annotations

import timeit
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from penstock.bus.clock import Clock
from penstock.contract import subjects
from penstock.contract.names import Lane, Role
from penstock.contract.presence import Presence, QuotaForecast, Recovery, RoleStatus
from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import Batch, Limits, RoleConfig
from penstock.runtime.heartbeat import HEARTBEAT_S
from services.router.admission.capacity import Capacity
from services.router.admission.controller import AdmissionController
from services.router.admission.wait_estimate import WaitEstimate
from services.router.queues.backlog import Backlog
from services.worker.rate_limit.quota import LocalQuota, Need, Permit, QuotaKey
from tests.harness.requests.routed_requests import chat_work

ROLES: dict[Role, RoleConfig] = {
    "chat": RoleConfig(chain=("small", "large")),
    "logic": RoleConfig(chain=("large",)),
    "creative": RoleConfig(chain=("other",)),
}


def minute(free: int, *returns: tuple[int, int], allowed: int = 60) -> Recovery:
    return Recovery(
        limit="requests_per_minute", window_ms=60_000, allowed=allowed, free=free, returns=tuple(returns)
    )


def quota(model: str, *recoveries: Recovery, source: str = "", **fields: Any) -> QuotaForecast:
    return QuotaForecast(model=model, source=source or f"record-{model}", recoveries=recoveries, **fields)


def status(role: Role = "chat", **fields: Any) -> RoleStatus:
    return RoleStatus(role=role, **{"slots": 16, "batch_slots": 4, "running": 0, **fields})


class Scene:
    """A controller with its clock, heartbeats and counts."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.left = 0
        """Requests that have left the mailboxes."""
        self.clock = Clock(lambda: self.now_s, lambda: self.now_s + 1e9)
        self.backlog = Backlog()
        self.capacity = Capacity(ROLES, Batch())
        self.controller = AdmissionController(self.capacity, self.backlog, self.clock)

    def heartbeat(
        self, *forecasts: QuotaForecast, roles: tuple[RoleStatus, ...] = (), instance: str = "w1"
    ) -> None:
        roles = roles or (status(),)
        presence = Presence(service="worker", instance=instance, at_ms=0, roles=roles, forecasts=forecasts)
        self.capacity.observe(instance, presence, self.clock.monotonic_s())

    def count(self, lane: Lane = "interactive", **mailboxes: int) -> None:
        """Requests in the first rank of the lane, by role."""
        self.backlog.begin_count()
        self.backlog.snapshot(
            {subjects.work(role, lane, 0, "f"): number for role, number in mailboxes.items()}, routers=1
        )
        self.backlog.record_departures(self.left, self.now_s)
        self.backlog.counted_s = self.clock.monotonic_s()

    def work(self, role: Role = "chat", left_s: float = 15.0, lane: Lane = "interactive") -> ChatWork:
        now_ms = self.clock.unix_ms()
        return chat_work(role=role, lane=lane, deadline_ms=now_ms + round(left_s * 1000), accepted_ms=now_ms)

    def retry_s(self, role: Role = "chat", left_s: float = 15.0) -> float | None:
        return self.controller.forecast(self.work(role, left_s)).retry_after_s


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_c3_without_heartbeats_and_counts_every_request_is_admitted(scene: Scene) -> None:
    assert scene.retry_s(left_s=0.1) is None
    scene.count(chat=10_000)
    assert scene.retry_s(left_s=0.1) is None, "no worker has sent a heartbeat"
    scene.heartbeat()
    assert scene.retry_s(left_s=0.1) is None, "no service time and no limit is known"


def test_c3_a_quota_that_recovers_too_late_rejects_with_a_retry_delay(scene: Scene) -> None:
    scene.heartbeat(quota("small", minute(0, (40_000, 60))), quota("large", minute(0, (50_000, 60))))
    scene.count()

    delay_s = scene.retry_s(left_s=15)
    assert delay_s is not None
    assert 25 < delay_s < 30
    assert scene.retry_s(left_s=50) is None

    scene.now_s += delay_s
    assert scene.retry_s(left_s=15) is None


def test_c3_quota_of_any_model_of_the_chain_admits(scene: Scene) -> None:
    scene.heartbeat(quota("small", minute(0, (40_000, 60))), quota("large", minute(50)))
    scene.count(chat=49)

    assert scene.retry_s() is None
    scene.count(chat=50)
    assert scene.retry_s() is not None


def test_c3_the_backlog_of_roles_that_share_a_model_counts(scene: Scene) -> None:
    scene.heartbeat(
        quota("small", minute(0, (40_000, 60))),
        quota("large", minute(50)),
        roles=(status(), status("logic"), status("creative")),
    )
    scene.count(logic=90, creative=900)
    assert scene.retry_s("chat") is not None
    scene.count(logic=49, creative=900)
    assert scene.retry_s("chat") is None


def test_c3_requests_admitted_since_the_count_are_queued(scene: Scene) -> None:
    scene.heartbeat(quota("small", minute(3)), quota("large", minute(0)))
    scene.count()

    reserve = 0
    while scene.retry_s() is None:
        scene.controller.commit(scene.controller.reserve(scene.work()))
        reserve += 1

    assert reserve == 3


def test_c3_requests_past_the_quota_need_none(scene: Scene) -> None:
    limits = quota("small", minute(30)), quota("large", minute(0))
    scene.heartbeat(*limits, roles=(status(calling=100),))
    scene.count(chat=129)
    assert scene.retry_s() is None
    scene.count(chat=130)
    assert scene.retry_s() is not None


def test_c3_shared_quotas_count_once_and_local_ones_add_up(scene: Scene) -> None:
    scene.heartbeat(quota("small", minute(50)), quota("large", minute(0)))
    scene.heartbeat(quota("small", minute(50)), quota("large", minute(0)), instance="w2")
    scene.count(chat=50)
    assert scene.retry_s() is not None, "one report per record"

    alone = Scene()
    alone.heartbeat(quota("small", minute(50), source="w1/k/small"), quota("large", minute(0)))
    alone.heartbeat(quota("small", minute(50), source="w2/k/small"), quota("large", minute(0)), instance="w2")
    alone.count(chat=99)
    assert alone.retry_s() is None
    alone.count(chat=100)
    assert alone.retry_s() is not None


def test_c3_spent_quota_is_bounded_by_requests_that_left_the_mailboxes(scene: Scene) -> None:
    limits = quota("small", minute(20)), quota("large", minute(0))

    def served(number: int, after_s: float) -> None:
        scene.now_s += after_s
        scene.left += number
        scene.count()

    scene.heartbeat(*limits, roles=(status(ended=0),))
    served(60, 2.0)
    scene.heartbeat(*limits, roles=(status(ended=60),))
    served(30, 1.0)
    assert scene.retry_s() is not None, (
        "thirty may have been served since the heartbeat, and it had quota for twenty"
    )

    scene.heartbeat(*limits, roles=(status(ended=90),))
    served(2, 1.0)
    assert scene.retry_s() is None, "of thirty that may have been served two were"


def test_c3_a_silent_worker_does_not_count_while_others_report(
    scene: Scene,
) -> None:
    """A killed worker sends no goodbye: its slots and running calls count for 5 s, not for 20."""
    one = status(slots=4, calling=4, service_ms=2000, service_p95_ms=2000)
    limits = quota("small", minute(30)), quota("large", minute(0))
    for instance in ("w1", "w2"):
        scene.heartbeat(*limits, roles=(one,), instance=instance)
    for silent_s, reserve in ((4.9, True), (5.1, False)):
        scene.now_s = 1000.0 + silent_s
        scene.heartbeat(*limits, roles=(one,), instance="w2")
        scene.count(chat=24)
        assert (scene.retry_s(left_s=12.0) is None) == reserve


def test_c3_the_only_worker_of_a_role_counts_although_silent(scene: Scene) -> None:
    scene.heartbeat(roles=(status(slots=4, service_ms=2000, service_p95_ms=3000),))
    scene.now_s += 15
    scene.heartbeat(roles=(status("creative"),), instance="w2")
    scene.count(chat=4 + 20)
    assert scene.retry_s(left_s=10) is not None
    assert scene.retry_s(left_s=15) is None


def test_c3_a_rejection_by_estimates_only_is_retried_when_the_next_heartbeat_is_here(scene: Scene) -> None:
    """Thirty requests may have been served since the heartbeat; without that estimate there is quota for twenty."""
    limits = quota("small", minute(20, (50_000, 60))), quota("large", minute(0))
    scene.heartbeat(*limits, roles=(status(ended=0),))
    scene.now_s += 2.0
    scene.heartbeat(*limits, roles=(status(ended=60),))
    scene.now_s += 1.0
    scene.count()

    assert scene.retry_s() == HEARTBEAT_S + 0.5, "a heartbeat may be a little late"
    scene.count(chat=25)
    retry_s = scene.retry_s()
    assert retry_s is not None
    assert retry_s > 30, "the queue alone needs more than the quota"


@pytest.mark.parametrize(("concurrency", "wait_s"), [(1, 9.5), (2, 4.25), (None, 1.625)])
def test_c3_the_concurrency_limit_of_the_providers_slows_the_service(
    scene: Scene, concurrency: int | None, wait_s: float
) -> None:
    """Eight slots that take a second each; two models, each with so many calls at once."""
    limits = (quota(model, concurrency=concurrency) for model in ("small", "large"))
    scene.heartbeat(*limits, roles=(status(slots=8, service_ms=1000, service_p95_ms=1000),))
    scene.count(chat=20)

    assert scene.controller.forecast(scene.work()).wait_s == pytest.approx(wait_s)


def test_c3_slots_limit_by_the_mean_service_time(scene: Scene) -> None:
    scene.heartbeat(roles=(status(slots=4, service_ms=2000, service_p95_ms=3000),))
    scene.count(chat=4 + 16)
    assert scene.retry_s(left_s=12.5) is None, "17 turns of half a second, 3 s for the answer"
    delay_s = scene.retry_s(left_s=10)
    assert delay_s is not None
    assert 2 < delay_s < 3


def test_c3_a_breaker_applies_to_one_worker_and_a_pause_to_all(scene: Scene) -> None:
    scene.heartbeat(quota("small", breaker_ms=60_000), quota("large", breaker_ms=60_000))
    scene.count()
    delay_s = scene.retry_s()
    assert delay_s is not None
    assert delay_s > 40
    scene.heartbeat(quota("small"), quota("large"), instance="w2")
    scene.now_s += 0.2
    assert scene.retry_s() is None
    scene.heartbeat(quota("small", paused_ms=60_000), quota("large", paused_ms=60_000))
    scene.now_s += 0.2
    assert scene.retry_s() is not None


def test_c3_a_removed_worker_has_no_effect(scene: Scene) -> None:
    scene.heartbeat(quota("small", minute(0)), quota("large", minute(0)))
    scene.count(chat=100)
    assert scene.retry_s() is not None
    scene.now_s += 0.2
    scene.capacity.retain(frozenset())
    assert scene.retry_s() is None


def test_c6_quota_free_at_the_heartbeat_is_free_despite_an_older_count(scene: Scene) -> None:
    """Waiting batch requests take no quota between the count and the heartbeat: one of two is still free."""
    queued = [subjects.work("chat", "batch", 0, "f")] * 6
    scene.backlog.begin_count()
    scene.backlog.snapshot(Counter([*queued, subjects.work("chat", "interactive", 0, "f")]), routers=1)
    scene.backlog.counted_s = scene.now_s
    scene.now_s += 0.03
    scene.heartbeat(quota("small", minute(2, (57_000, 8), allowed=10)), quota("large", minute(0, allowed=10)))

    assert scene.retry_s(left_s=5) is None
    scene.count(chat=2)
    assert scene.retry_s(left_s=5) is not None, "there is no quota for a third request"


def test_c6_batch_requests_overtake_only_as_whole_requests(scene: Scene) -> None:
    """One batch request may overtake in half a minute, but not half of one within a second."""
    scene.heartbeat(
        quota("small", minute(0, (2_000, 1), (57_000, 8), allowed=10)), quota("large", minute(0, allowed=10))
    )
    scene.count("batch", chat=6)

    assert scene.retry_s(left_s=5) is None


def test_c3_a_decision_takes_microseconds(scene: Scene) -> None:
    steps = tuple((at_s * 1000, 10) for at_s in range(1, 60))
    for number in range(4):
        scene.heartbeat(
            *(quota(model, minute(0, *steps, allowed=600)) for model in ("small", "large")),
            roles=(status(service_ms=400, service_p95_ms=900), status("logic", service_ms=400)),
            instance=f"w{number}",
        )
    scene.count(chat=100, logic=100)
    work = scene.work()
    scene.controller.forecast(work)

    def seconds(call: Callable[[], object]) -> float:
        return timeit.timeit(call, number=200) / 200

    pairs = [
        (seconds(lambda: scene.controller.forecast(work)), seconds(lambda: sum(n * n for n in range(500))))
        for _ in range(5)
    ]
    each_s, reference_s = map(min, zip(*pairs, strict=True))

    print(f"\n{each_s * 1e6:.1f} µs for a decision, {reference_s * 1e6:.1f} µs for 500 squares")
    assert each_s < 2.5 * reference_s, "50 µs on a machine on which 500 squares take 20 µs"


def test_c3_a_job_waits_hours_for_a_daily_limit() -> None:
    """A worker's own count of a day: 1,000 of 1,000 used, 25 of them every half an hour."""
    scene, key = Scene(), QuotaKey("k", "small")
    worker = LocalQuota({key: Limits(requests_per_day=1000)}, batch=Batch())
    for _ in range(40):
        for _ in range(25):
            permit = worker.try_acquire(key, Need(0), scene.now_s)
            assert isinstance(permit, Permit)
            worker.settle(permit, 0, scene.now_s)
        scene.now_s += 1800
    scene.now_s += 10_800  # the first come back in an hour
    recoveries = worker.forecast(key, scene.now_s).recoveries
    scene.heartbeat(quota("small", *recoveries), quota("large", *recoveries, source="record-small"))
    scene.count("batch", chat=60)

    forecasts = {
        hours: scene.controller.forecast(scene.work("chat", hours * 3600, "batch")) for hours in (1.5, 4, 12)
    }

    (wait_s,) = {each.wait_s for each in forecasts.values()}
    assert wait_s == pytest.approx(2 * 3600, rel=0.06)
    assert [forecasts[hours].retry_after_s for hours in (4, 12)] == [None, None]
    delay_s = forecasts[1.5].retry_after_s
    assert delay_s is not None
    assert 1800 < delay_s < 3600


def test_e5_the_wait_is_unknown_without_heartbeats_and_counts(scene: Scene) -> None:
    assert scene.controller.forecast(scene.work()).estimate is None
    scene.count(chat=100)
    assert scene.controller.forecast(scene.work()).estimate is None, "no worker has sent a heartbeat"
    scene.now_s += 1.0
    scene.heartbeat()
    estimate = scene.controller.forecast(scene.work()).estimate
    assert estimate == WaitEstimate(84, None), "no request has ended, so no service time is known"


def test_e5_a_free_slot_and_quota_mean_no_wait(scene: Scene) -> None:
    scene.heartbeat(quota("small", minute(30)), quota("large", minute(0)), roles=(status(service_ms=500),))
    scene.count(chat=15)
    assert scene.controller.forecast(scene.work()).estimate == WaitEstimate(0, 0.0)


def test_e5_positions_and_waits_rise_with_each_admitted_request(scene: Scene) -> None:
    returns = [(1000 * second, 1) for second in range(1, 60)]
    scene.heartbeat(quota("small", minute(2, *returns)), quota("large", minute(0)))
    scene.count()
    found = []
    for _ in range(8):
        estimate = scene.controller.forecast(scene.work()).estimate
        assert estimate is not None
        found.append((estimate.position, estimate.wait_s))
        scene.controller.commit(scene.controller.reserve(scene.work()))
    assert found == [(0, 0.0), (0, 0.0), *((2 + number, 1.0 + number) for number in range(6))]


def test_e5_a_new_user_is_estimated_to_start_before_the_queue_of_another(scene: Scene) -> None:
    scene.heartbeat(roles=(status(slots=4, running=4, service_ms=1000, service_p95_ms=1000),))
    scene.backlog.begin_count()
    mailbox = {subjects.work("chat", "interactive", rank, subjects.flow("a", "busy")): 30 for rank in (1, 2)}
    scene.backlog.snapshot(mailbox, routers=1)
    scene.backlog.counted_s = scene.now_s
    work = scene.work(left_s=90)
    assert scene.controller.forecast(work).estimate == WaitEstimate(0, pytest.approx(0.25))
    own = replace(work, user="busy")
    assert scene.controller.forecast(own).estimate == WaitEstimate(56, pytest.approx(57 / 4))


def test_e5_a_start_that_cannot_be_forecast_has_a_position_only(scene: Scene) -> None:
    scene.heartbeat(quota("small", minute(0, allowed=0)), quota("large", minute(0, allowed=0)))
    scene.count(chat=3)
    assert scene.controller.forecast(scene.work()).estimate == WaitEstimate(3, None)
