"""C3, B4: beats and counts in, a decision out."""

from __future__ import annotations

import timeit
from collections import Counter
from typing import Any

import pytest

from penstock.bus.clock import Clock
from penstock.contract import subjects
from penstock.contract.names import Lane, Role
from penstock.contract.presence import Presence, QuotaForecast, Recovery, RoleStatus
from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import Batch, Limits, RoleConfig
from services.router.admission.capacity import Capacity
from services.router.admission.controller import AdmissionController
from services.router.queues.backlog import Backlog
from services.worker.rate_limit.quota import LocalQuota, Need, Permit, QuotaKey
from tests.harness.routed_requests import chat_work

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
    """A door with its clock, and what it has received."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.left = 0
        """Requests that have left the mailboxes."""
        self.clock = Clock(lambda: self.now_s, lambda: self.now_s + 1e9)
        self.backlog = Backlog()
        self.capacity = Capacity(ROLES, Batch())
        self.controller = AdmissionController(self.capacity, self.backlog, self.clock)

    def beat(
        self, *forecasts: QuotaForecast, roles: tuple[RoleStatus, ...] = (), instance: str = "w1"
    ) -> None:
        roles = roles or (status(),)
        beat = Presence(service="worker", instance=instance, at_ms=0, roles=roles, forecasts=forecasts)
        self.capacity.observe(instance, beat, self.clock.monotonic_s())

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


def test_c3_without_knowledge_everybody_is_let_in(scene: Scene) -> None:
    assert scene.retry_s(left_s=0.1) is None
    scene.count(chat=10_000)
    assert scene.retry_s(left_s=0.1) is None, "no worker has sent a heartbeat"
    scene.beat()
    assert scene.retry_s(left_s=0.1) is None, "nobody knows how long a request takes, and no limit was told"


def test_c3_a_quota_that_comes_back_too_late_refuses_and_says_when_to_come(scene: Scene) -> None:
    scene.beat(quota("small", minute(0, (40_000, 60))), quota("large", minute(0, (50_000, 60))))
    scene.count()

    told_s = scene.retry_s(left_s=15)
    assert told_s is not None
    assert 25 < told_s < 30
    assert scene.retry_s(left_s=50) is None

    scene.now_s += told_s
    assert scene.retry_s(left_s=15) is None


def test_c3_any_model_of_the_chain_will_do(scene: Scene) -> None:
    scene.beat(quota("small", minute(0, (40_000, 60))), quota("large", minute(50)))
    scene.count(chat=49)

    assert scene.retry_s() is None
    scene.count(chat=50)
    assert scene.retry_s() is not None


def test_c3_the_backlog_of_roles_with_the_same_model_counts_and_that_of_others_does_not(scene: Scene) -> None:
    scene.beat(
        quota("small", minute(0, (40_000, 60))),
        quota("large", minute(50)),
        roles=(status(), status("logic"), status("creative")),
    )
    scene.count(logic=90, creative=900)
    assert scene.retry_s("chat") is not None
    scene.count(logic=49, creative=900)
    assert scene.retry_s("chat") is None


def test_c3_what_was_let_in_since_the_count_is_in_the_line(scene: Scene) -> None:
    scene.beat(quota("small", minute(3)), quota("large", minute(0)))
    scene.count()

    reserve = 0
    while scene.retry_s() is None:
        scene.controller.commit(scene.controller.reserve(scene.work()))
        reserve += 1

    assert reserve == 3


def test_c3_who_has_passed_the_quota_needs_none(scene: Scene) -> None:
    limits = quota("small", minute(30)), quota("large", minute(0))
    scene.beat(*limits, roles=(status(calling=100),))
    scene.count(chat=129)
    assert scene.retry_s() is None
    scene.count(chat=130)
    assert scene.retry_s() is not None


def test_c3_workers_that_share_a_record_say_the_same_thing_and_those_that_do_not_add_up(scene: Scene) -> None:
    scene.beat(quota("small", minute(50)), quota("large", minute(0)))
    scene.beat(quota("small", minute(50)), quota("large", minute(0)), instance="w2")
    scene.count(chat=50)
    assert scene.retry_s() is not None, "one word per record"

    alone = Scene()
    alone.beat(quota("small", minute(50), source="w1/k/small"), quota("large", minute(0)))
    alone.beat(quota("small", minute(50), source="w2/k/small"), quota("large", minute(0)), instance="w2")
    alone.count(chat=99)
    assert alone.retry_s() is None
    alone.count(chat=100)
    assert alone.retry_s() is not None


def test_c3_a_burst_that_is_over_is_not_believed_to_go_on_until_the_next_beat(scene: Scene) -> None:
    limits = quota("small", minute(20)), quota("large", minute(0))

    def come_and_gone(number: int, after_s: float) -> None:
        scene.now_s += after_s
        scene.left += number
        scene.count()

    scene.beat(*limits, roles=(status(ended=0),))
    come_and_gone(60, 2.0)
    scene.beat(*limits, roles=(status(ended=60),))
    come_and_gone(30, 1.0)
    assert scene.retry_s() is not None, "thirty were served since the beat, of the twenty it had to give"

    scene.beat(*limits, roles=(status(ended=90),))
    come_and_gone(2, 1.0)
    assert scene.retry_s() is None, "of thirty that may have been served two were"


def test_c3_what_a_silent_worker_could_do_is_not_waited_for_while_others_of_its_role_speak(
    scene: Scene,
) -> None:
    """A killed one takes no leave: its slots and those it had let through to a provider count for 5 s, not for 20."""
    one = status(slots=4, calling=4, service_ms=2000, longest_ms=2000)
    limits = quota("small", minute(30)), quota("large", minute(0))
    for instance in ("w1", "w2"):
        scene.beat(*limits, roles=(one,), instance=instance)
    for silent_s, reserve in ((4.9, True), (5.1, False)):
        scene.now_s = 1000.0 + silent_s
        scene.beat(*limits, roles=(one,), instance="w2")
        scene.count(chat=24)
        assert (scene.retry_s(left_s=12.0) is None) == reserve


def test_c3_who_is_alone_in_its_role_is_believed_however_silent(scene: Scene) -> None:
    scene.beat(roles=(status(slots=4, service_ms=2000, longest_ms=3000),))
    scene.now_s += 15
    scene.beat(roles=(status("creative"),), instance="w2")
    scene.count(chat=4 + 20)
    assert scene.retry_s(left_s=10) is not None
    assert scene.retry_s(left_s=15) is None


def test_c3_slots_bind_by_the_mean_of_the_latest_requests(scene: Scene) -> None:
    scene.beat(roles=(status(slots=4, service_ms=2000, longest_ms=3000),))
    scene.count(chat=4 + 16)
    assert scene.retry_s(left_s=12.5) is None, "17 turns of half a second, 3 s for the answer"
    told_s = scene.retry_s(left_s=10)
    assert told_s is not None
    assert 2 < told_s < 3


def test_c3_one_workers_open_breaker_is_not_the_others_and_a_pause_is(scene: Scene) -> None:
    scene.beat(quota("small", breaker_ms=60_000), quota("large", breaker_ms=60_000))
    scene.count()
    told_s = scene.retry_s()
    assert told_s is not None
    assert told_s > 40
    scene.beat(quota("small"), quota("large"), instance="w2")
    scene.now_s += 0.2
    assert scene.retry_s() is None
    scene.beat(quota("small", paused_ms=60_000), quota("large", paused_ms=60_000))
    scene.now_s += 0.2
    assert scene.retry_s() is not None


def test_c3_a_worker_that_is_gone_says_nothing_any_more(scene: Scene) -> None:
    scene.beat(quota("small", minute(0)), quota("large", minute(0)))
    scene.count(chat=100)
    assert scene.retry_s() is not None
    scene.now_s += 0.2
    scene.capacity.retain(frozenset())
    assert scene.retry_s() is None


def test_c6_what_is_free_when_the_worker_speaks_is_free_though_the_count_is_older(scene: Scene) -> None:
    """Batch work that waits overtakes nobody between the count and the word: the last free one of two is given."""
    line = [subjects.work("chat", "batch", 0, "f")] * 6
    scene.backlog.begin_count()
    scene.backlog.snapshot(Counter([*line, subjects.work("chat", "interactive", 0, "f")]), routers=1)
    scene.backlog.counted_s = scene.now_s
    scene.now_s += 0.03
    scene.beat(quota("small", minute(2, (57_000, 8), allowed=10)), quota("large", minute(0, allowed=10)))

    assert scene.retry_s(left_s=5) is None
    scene.count(chat=2)
    assert scene.retry_s(left_s=5) is not None, "and a third one is not there"


def test_c6_a_line_of_batch_work_overtakes_nobody_by_a_part_of_a_request(scene: Scene) -> None:
    """One of batch may go before in half a minute: not the half of one in a moment, for which there is no quota."""
    scene.beat(
        quota("small", minute(0, (2_000, 1), (57_000, 8), allowed=10)), quota("large", minute(0, allowed=10))
    )
    scene.count("batch", chat=6)

    assert scene.retry_s(left_s=5) is None


def test_c3_the_decision_costs_next_to_nothing(scene: Scene) -> None:
    steps = tuple((at_s * 1000, 10) for at_s in range(1, 60))
    for number in range(4):
        scene.beat(
            *(quota(model, minute(0, *steps, allowed=600)) for model in ("small", "large")),
            roles=(status(service_ms=400, longest_ms=900), status("logic", service_ms=400)),
            instance=f"w{number}",
        )
    scene.count(chat=100, logic=100)
    work = scene.work()
    scene.controller.forecast(work)

    each_s = min(timeit.repeat(lambda: scene.controller.forecast(work), number=200, repeat=5)) / 200

    print(f"\n{each_s * 1e6:.1f} µs for a decision")
    assert each_s < 50e-6


def test_c3_a_job_waits_for_what_a_days_limit_gives_back_in_hours() -> None:
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
    scene.beat(quota("small", *recoveries), quota("large", *recoveries, source="record-small"))
    scene.count("batch", chat=60)

    foreseen = {
        hours: scene.controller.forecast(scene.work("chat", hours * 3600, "batch")) for hours in (1.5, 4, 12)
    }

    (wait_s,) = {each.wait_s for each in foreseen.values()}
    assert wait_s == pytest.approx(2 * 3600, rel=0.06)
    assert [foreseen[hours].retry_after_s for hours in (4, 12)] == [None, None]
    told_s = foreseen[1.5].retry_after_s
    assert told_s is not None
    assert 1800 < told_s < 3600
