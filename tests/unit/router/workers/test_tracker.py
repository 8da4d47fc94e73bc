"""C3: heartbeats, also forged and unusable ones."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from msgspec.structs import replace

from penstock.bus.clock import Clock
from penstock.contract.presence import Presence, QuotaForecast, RoleStatus
from penstock.runtime.config.catalogue import Batch, RoleConfig
from services.router.admission.capacity import Capacity
from services.router.admission.forecast import BacklogCount
from services.router.replies.stored_replies import StoredReplies
from services.router.workers.tracker import WorkerTracker

NO_BUS: Any = None
"""The tests deliver heartbeats themselves."""


def heartbeat(instance: str, paused_ms: Any = 0) -> Presence:
    forecast = QuotaForecast(model="m", source=instance, paused_ms=paused_ms)
    return Presence(
        service="worker",
        instance=instance,
        at_ms=0,
        roles=(RoleStatus(role="chat", slots=1, running=0),),
        forecasts=(forecast,),
    )


def test_c3_an_unusable_heartbeat_is_logged_and_harms_no_other_worker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    roles = {"chat": RoleConfig(chain=("m",))}
    capacity = Capacity(roles, Batch())
    tracker = WorkerTracker(NO_BUS, capacity, roles, StoredReplies(), Clock(lambda: 1000.0, lambda: 1e9))
    for each in (
        heartbeat("w1"),
        heartbeat("w2"),
        heartbeat("w1", paused_ms="soon"),
    ):  # the decoder would reject this
        tracker._on_heartbeat(each.instance, each)

    forecast = capacity.forecast("chat", BacklogCount(1000.0), 1000.0)

    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "w1" in caplog.text
    assert tracker.served(1000.0) == {"chat"}
    assert forecast is not None
    assert forecast.lanes["interactive"].slots == 1, "of w1 nothing is known any more"


def test_c3_forged_heartbeats_use_bounded_memory_and_no_computation() -> None:
    roles = {"chat": RoleConfig(chain=("m",))}
    capacity = Capacity(roles, Batch())
    tracker = WorkerTracker(NO_BUS, capacity, roles, StoredReplies(), Clock(lambda: 1000.0, lambda: 1e9))
    for number in range(3000):
        tracker._on_heartbeat(f"w{number}", heartbeat(f"w{number}"))

    assert len(capacity._reports) == 1000
    assert capacity._reports.keys() == tracker._workers.instances(1000.0)
    assert all(each._curve is None for report in capacity._reports.values() for each in report.quotas)


def test_k2_an_implicit_role_takes_part_in_forecasts_only_while_a_worker_reports_it() -> None:
    """Otherwise each model of the catalogue would add to the cost of every admission."""
    role = RoleConfig(chain=("m",))
    capacity = Capacity({"chat": role, "fast": role, "model-m": role}, Batch())

    def sharers(now_s: float, *reported: str) -> tuple[str, ...]:
        status = tuple(RoleStatus(role=each, slots=1, running=0) for each in reported)
        capacity.observe("w", replace(heartbeat("w"), roles=status), now_s)
        forecast = capacity.forecast("chat", BacklogCount(now_s), now_s)
        assert forecast is not None
        return tuple(sorted(forecast.sharers))

    assert sharers(1000.0, "chat") == ("chat", "fast")
    assert sharers(1001.0, "chat", "model-m") == ("chat", "fast", "model-m")
    assert sharers(1002.0, "chat") == ("chat", "fast")


def test_c3_silent_workers_are_removed() -> None:
    now_s = 1000.0
    roles = {"chat": RoleConfig(chain=("m",))}
    capacity = Capacity(roles, Batch())
    tracker = WorkerTracker(NO_BUS, capacity, roles, StoredReplies(), Clock(lambda: now_s, lambda: 1e9))
    tracker._on_heartbeat("gone", heartbeat("gone"))
    for _ in range(15):
        now_s += 2
        tracker._on_heartbeat("here", heartbeat("here"))
    assert list(capacity._reports) == ["here"]


def test_c3_many_reports_are_folded_less_often() -> None:
    roles = {"chat": RoleConfig(chain=("m",))}
    few, many = Capacity(roles, Batch()), Capacity(roles, Batch())
    few.observe("w", heartbeat("w"), 1000.0)
    for number in range(1000):
        many.observe(f"w{number}", heartbeat(f"w{number}"), 1000.0)
    first = [each.forecast("chat", BacklogCount(1000.0), 1000.0) for each in (few, many)]
    assert few.forecast("chat", BacklogCount(1001.0), 1001.0) is not first[0], (
        "a new count is taken up at once"
    )
    assert many.forecast("chat", BacklogCount(1001.0), 1001.0) is first[1]
    assert many.forecast("chat", BacklogCount(1005.0), 1005.0) is not first[1]


def test_c3_routers_are_counted_by_their_heartbeats() -> None:
    now_s = 1000.0
    roles = {"chat": RoleConfig(chain=("m",))}
    tracker = WorkerTracker(
        NO_BUS, Capacity(roles, Batch()), roles, StoredReplies(), Clock(lambda: now_s, lambda: 1e9)
    )
    assert tracker.routers() == 1, "before its own heartbeat"

    def heartbeats(*names: str) -> None:
        for name in names:
            tracker._on_heartbeat(name, Presence(service="router", instance=name, at_ms=0))

    heartbeats("r1", "r2", "r3")
    assert tracker.routers() == 3
    for _ in range(4):
        now_s += 2
        heartbeats("r1", "r3")
    assert tracker.routers() == 2, "one is silent for longer than three heartbeats"
    assert tracker.served(now_s) == frozenset()

    heartbeats(*(f"fake{number}" for number in range(500)))
    assert tracker.routers() == 32


def test_c3_a_retry_delay_is_that_of_the_first_worker_that_expects_quota() -> None:
    roles = {"chat": RoleConfig(chain=("m",))}
    clock = Clock(lambda: 1000.0, lambda: 1e9)
    tracker = WorkerTracker(NO_BUS, Capacity(roles, Batch()), roles, StoredReplies(), clock)
    assert tracker.retry_after_s("chat") is None, "no worker has sent a heartbeat"
    for name, ready_s in (("w1", 30), ("w2", 12)):
        status = RoleStatus(role="chat", slots=1, running=0, ready_at_ms=10**12 + ready_s * 1000)
        tracker._on_heartbeat(name, Presence(service="worker", instance=name, at_ms=0, roles=(status,)))
    assert tracker.retry_after_s("chat") == 12
    tracker._on_heartbeat("w2", heartbeat("w2"))
    assert tracker.retry_after_s("chat") is None, "it could start now"
