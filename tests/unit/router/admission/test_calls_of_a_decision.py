"""C3: what a decision costs does not grow with users, requests, workers or models: Python calls, counted exactly."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from penstock.bus.clock import Clock
from penstock.contract import subjects
from penstock.contract.names import Role, implicit_role
from penstock.contract.presence import Presence, RoleStatus
from penstock.runtime.config.catalogue import Batch, RoleConfig
from services.router.admission.capacity import Capacity
from services.router.admission.controller import AdmissionController
from services.router.admission.forecast import BacklogCount
from services.router.queues.backlog import Backlog
from services.router.queues.byte_limits import ByteLimits, claim_of
from services.router.queues.stream_bytes import StreamFill
from tests.harness.requests.routed_requests import chat_work
from tests.unit.router.admission.test_controller import minute, quota

MOST_CALLS = 75
"""Of a decision with every step: a user of several requests, whose role shares its quotas with others."""
MOST_CALLS_WAITING = 160
"""Of one with a forecast of a wait."""
FREE = 1_000_000


class Router:
    """The policies of admission; each of `users` has `requests` in the mailbox of the role `chat`."""

    def __init__(
        self, *, users: int = 1, requests: int = 1, workers: int = 1, models: int = 1, slots: int = 16
    ) -> None:
        self.now_s = 1000.0
        clock = Clock(lambda: self.now_s, lambda: self.now_s + 1e9)
        names = [f"m{number}" for number in range(models)]
        implicit: dict[Role, RoleConfig] = {implicit_role(name): RoleConfig(chain=(name,)) for name in names}
        roles = {"chat": RoleConfig(chain=tuple(names)), **implicit}
        self.backlog = Backlog()
        self.limits = ByteLimits(self.backlog)
        self.capacity = Capacity(roles, Batch())
        self.controller = AdmissionController(self.capacity, self.backlog, clock)
        reported = tuple(
            RoleStatus(role=role, slots=slots, batch_slots=4, running=1, service_ms=100) for role in roles
        )
        forecasts = tuple(quota(name, minute(FREE, allowed=FREE)) for name in names)
        for number in range(workers):
            instance = f"w{number}"
            presence = Presence(
                service="worker", instance=instance, at_ms=0, roles=reported, forecasts=forecasts
            )
            self.capacity.observe(instance, presence, self.now_s)
        queued = {
            subjects.work("chat", "interactive", 0, subjects.flow("team", f"u{number}")): requests
            for number in range(users)
        }
        others = {subjects.work(role, "interactive", 0, subjects.flow("team", "x")): 1 for role in implicit}
        self.backlog.snapshot(queued | others, routers=1)
        self.backlog.counted_s = self.now_s
        self.limits.snapshot(StreamFill(10_000, 2**30), StreamFill(0, 2**30))

    def admit(self) -> None:
        """Decide on a request, reserve its place and commit it."""
        now_ms = round((self.now_s + 1e9) * 1000)
        work = chat_work(account="team", user="u0", deadline_ms=now_ms + 36_000_000, accepted_ms=now_ms)
        forecast = self.controller.forecast(work)
        claim = claim_of(work, forecast.arrival.flow)
        assert forecast.retry_after_s is None
        assert self.limits.rejection_reason(claim) is None
        address = self.controller.reserve(work, forecast.arrival)
        self.limits.reserve(claim)
        self.controller.commit(address)
        self.limits.commit(claim)


def calls_of(action: Callable[[], object]) -> int:
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(None)
    return calls


def calls_of_a_decision(router: Router) -> int:
    """Python calls of the second decision: the first one after a count or a heartbeat adds them up."""
    router.admit()
    return calls_of(router.admit)


def calls_of_a_role(router: Router) -> int:
    """Python calls of the first forecast of a role, after that of another one which shares its quotas."""
    router.admit()
    counted = BacklogCount(router.now_s)
    return calls_of(lambda: router.capacity.forecast(implicit_role("m1"), counted, router.now_s))


def test_c3_a_decision_takes_few_calls() -> None:
    assert calls_of_a_decision(Router(requests=8, models=3)) <= MOST_CALLS


@pytest.mark.parametrize(
    ("few", "many"),
    [
        pytest.param({"users": 10}, {"users": 10_000}, id="users"),
        pytest.param({"requests": 5}, {"requests": 1000}, id="requests"),
        pytest.param({"workers": 1}, {"workers": 100}, id="workers"),
        pytest.param({"models": 3}, {"models": 1000}, id="models"),
        pytest.param({"models": 3, "workers": 1}, {"models": 30, "workers": 100}, id="reports of quotas"),
    ],
)
def test_c3_the_calls_of_a_decision_do_not_grow(few: dict[str, int], many: dict[str, int]) -> None:
    free = {"slots": 20_000}
    assert calls_of_a_decision(Router(**many | free)) <= calls_of_a_decision(Router(**few | free)) + 2


@pytest.mark.parametrize("load", [{"users": 10_000}, {"requests": 1000}, {"requests": 1000, "models": 1000}])
def test_c3_the_calls_of_a_decision_with_a_wait_do_not_grow(load: dict[str, int]) -> None:
    assert calls_of_a_decision(Router(**load)) <= MOST_CALLS_WAITING


def test_c3_the_forecast_of_one_more_role_does_not_grow_with_models() -> None:
    """After a heartbeat each role that has requests is forecast anew; the quotas that all share are added up once."""
    assert calls_of_a_role(Router(models=1000)) <= calls_of_a_role(Router(models=3)) + 2
