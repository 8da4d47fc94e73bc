"""C7: the requests counted as delayed by a limit, in the worker and in the mailbox."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from penstock.contract.presence import LimitStatus
from penstock.runtime.config.catalogue import Batch, Catalogue, Limits, Model, ProviderConfig, RoleConfig
from services.worker.metrics import WorkerMetrics
from services.worker.quota_monitor.monitor import QuotaMonitor
from services.worker.rate_limit.quota import LocalQuota, Need, Permit, QuotaKey

KEY = QuotaKey("k", "m")
LIMITS = Limits(requests_per_minute=1, tokens_per_day=5000)
CATALOGUE = Catalogue(
    name="test",
    providers={"p": ProviderConfig()},
    models={"m": Model(provider="p", limits=LIMITS)},
    roles={"chat": RoleConfig(chain=("m",))},
)
NOW_S = 1000.0
ONE = Need(100)


class Bench:
    def __init__(self) -> None:
        self.quota = LocalQuota({KEY: LIMITS}, batch=Batch())
        metrics = WorkerMetrics(CollectorRegistry())
        self.quota_monitor = QuotaMonitor(CATALOGUE, {"m": (KEY,)}, self.quota, metrics, ["chat"])

    def status(self, limit: str, now_s: float) -> LimitStatus:
        (use,) = (use for use in self.quota.usage(KEY, now_s) if use.name == limit)
        return self.quota_monitor.status(KEY, use, now_s, 1_000_000)

    def throttled(self, limit: str = "requests_per_minute") -> int:
        return self.status(limit, NOW_S + 100).hour.throttled


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    assert isinstance(bench.quota.try_acquire(KEY, ONE, NOW_S), Permit)
    return bench


def test_c7_a_blocked_request_counts_once_for_its_limit(bench: Bench):
    throttled = set[str]()
    for second in range(5):
        bench.quota_monitor.record_blocked("chat", throttled, "m", ONE, NOW_S + second)
    bench.quota_monitor.record_blocked("chat", set(), "m", ONE, NOW_S + 5)
    assert (bench.throttled(), bench.throttled("tokens_per_day")) == (2, 0)


def test_c7_a_request_blocked_by_a_daily_limit_counts_its_tokens(bench: Bench):
    bench.quota_monitor.record_blocked("chat", set(), "m", Need(4950), NOW_S + 61)
    past = bench.status("tokens_per_day", NOW_S + 61).hour
    assert (past.throttled, past.unmet) == (1, 4950)


def test_c7_a_request_delayed_in_the_mailbox_by_the_gate_counts(bench: Bench):
    bench.quota_monitor.record_gate("chat", 59.0, NOW_S + 1)
    bench.quota_monitor.record_gate("chat", 0.0, NOW_S + 60)
    bench.quota_monitor.record_arrival("chat", set(), 10.0, NOW_S + 61)
    assert bench.throttled() == 1
    bench.quota_monitor.record_arrival("chat", set(), 0.5, NOW_S + 61)
    assert bench.throttled() == 1, "it arrived after the gate opened"


def test_c7_a_gate_that_opens_early_delays_no_request_afterwards(bench: Bench):
    bench.quota_monitor.record_gate("chat", 59.0, NOW_S + 1)
    bench.quota_monitor.record_gate("chat", 0.0, NOW_S + 5)
    bench.quota_monitor.record_arrival("chat", set(), 2.0, NOW_S + 10)
    assert bench.throttled() == 0


def test_c7_a_gate_closed_for_another_reason_does_not_count(bench: Bench):
    bench.quota_monitor.record_gate("chat", 30.0, NOW_S + 61)
    bench.quota_monitor.record_arrival("chat", set(), 10.0, NOW_S + 91)
    assert bench.throttled() == 0


def test_c7_a_429_does_not_count_for_a_configured_limit(bench: Bench):
    bench.quota.pause(KEY, NOW_S + 300, "429")
    bench.quota_monitor.record_blocked("chat", set(), "m", ONE, NOW_S + 100)
    assert bench.throttled() == 0


def test_c7_a_full_limit_and_its_end_are_reported(bench: Bench):
    found = []
    for second in range(120):
        now_s = NOW_S + second
        found += [(second, notice.use.name, notice.state) for notice in bench.quota_monitor.sample(now_s)]
    assert [(name, crossing) for _, name, crossing in found if name == "requests_per_minute"] == [
        ("requests_per_minute", "warned"),
        ("requests_per_minute", "eased"),
    ]
    status = bench.status("requests_per_minute", NOW_S + 120)
    assert status.hour.full_s == pytest.approx(60, abs=2)
    assert status.watched_s == 119
