"""D5: the calls that count, the roles they count for, and the quota estimate of a reduced request."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw
from prometheus_client import CollectorRegistry

from penstock.contract.reply import Usage
from penstock.runtime.accounting.usage_events import AttemptRecord
from penstock.runtime.config.catalogue import Catalogue, Model, Parameters, ProviderConfig, RoleConfig
from penstock.runtime.config.degradation import Degradation, OnErrors, OnHighLatency
from services.worker.degradation.monitor import DegradationMonitor, without_quota
from services.worker.degradation.shorten import RequestSize
from services.worker.metrics import WorkerMetrics
from tests.harness.requests.routed_requests import chat_work

NOW_S = 1000.0
RULES = Degradation(on_high_latency=OnHighLatency(min_calls=3), on_errors=OnErrors(min_calls=3))
SLOW_ROLE = Degradation(
    on_high_latency=OnHighLatency(min_calls=3, slow_s=80), on_errors=OnErrors(enabled=False)
)
PARAMETERS = Parameters(max_tokens=2000)
CATALOGUE = Catalogue(
    name="test",
    providers={"p": ProviderConfig()},
    models={"m": Model(provider="p"), "n": Model(provider="p")},
    roles={
        "chat": RoleConfig(chain=("m", "n"), parameters=PARAMETERS),
        "coding": RoleConfig(chain=("m",), parameters=PARAMETERS),
        "reasoning": RoleConfig(chain=("m",), parameters=PARAMETERS, degradation=SLOW_ROLE),
    },
    degradation=RULES,
)
MESSAGES = [{"role": "user", "content": "x" * 100} for _ in range(12)]


@pytest.fixture
def monitor() -> DegradationMonitor:
    return DegradationMonitor(CATALOGUE, WorkerMetrics(CollectorRegistry()))


def observe(monitor: DegradationMonitor, *outcomes: str, role: Any = "chat", duration_s: float = 1.0) -> None:
    for outcome in outcomes:
        record = AttemptRecord(
            number=1, model="m", credential="k", outcome=outcome, usage=Usage(), duration_ms=duration_s * 1000
        )
        monitor.observe(role, record, NOW_S)


def size(role: Any = "chat", *, degrade: bool = True, vision: bool = False, **body: Any) -> RequestSize:
    work = chat_work(
        role=role,
        stream=True,
        vision=vision,
        estimated_tokens=1200,
        degrade=degrade,
        body=Raw(json.dumps({"messages": MESSAGES, **body}).encode()),
    )
    return RequestSize(work, input_tokens=1200, output_tokens=2000)


def active(monitor: DegradationMonitor) -> set[tuple[str, str, str]]:
    return {(each.role, each.model, each.rule) for each in monitor.report(NOW_S)}


@pytest.mark.parametrize("outcome", ["rate_limited", "not_found", "credentials", "too_large", "cancelled"])
def test_d5_outcomes_unrelated_to_health_do_not_count(monitor, outcome):
    observe(monitor, *[outcome] * 50)
    assert active(monitor) == set()
    observe(monitor, "server_error", "completed")
    assert active(monitor) == set(), "nor do they count as attempts"


def test_d5_failures_count_for_every_role_with_the_rule(monitor):
    observe(monitor, "server_error", "completed", "connection", role="coding")
    assert active(monitor) == {("chat", "m", "errors"), ("coding", "m", "errors")}


def test_d5_slow_calls_count_for_roles_with_the_same_rule(monitor):
    observe(monitor, *["completed"] * 3, role="reasoning", duration_s=60)
    assert active(monitor) == set(), "a minute is not slow for the reasoning role"
    observe(monitor, *["completed"] * 3, role="coding", duration_s=21)
    assert active(monitor) == {("chat", "m", "high_latency"), ("coding", "m", "high_latency")}


def test_d5_a_timeout_is_slow_and_another_failure_is_not(monitor):
    observe(monitor, "too_slow", "stalled", "no_first_token")
    assert ("chat", "m", "high_latency") in active(monitor)
    other = DegradationMonitor(CATALOGUE, WorkerMetrics(CollectorRegistry()))
    observe(other, *["server_error"] * 5, duration_s=30)
    assert ("chat", "m", "high_latency") not in active(other)


def test_d5_the_quota_estimate_is_that_of_the_reduced_body(monitor):
    assert monitor.expected_tokens(size(), "m", NOW_S) == (1200, 2000)
    observe(monitor, *["completed"] * 3, duration_s=30)
    assert monitor.expected_tokens(size(), "m", NOW_S) == (1200, 1400)
    assert monitor.expected_tokens(size(), "n", NOW_S) == (1200, 2000), "the other model is not slow"
    assert monitor.expected_tokens(size(degrade=False), "m", NOW_S) == (1200, 2000)
    assert monitor.expected_tokens(size(tools=[{}]), "m", NOW_S) == (1200, 2000)
    observe(monitor, *["server_error"] * 3)
    tokens, output_tokens = monitor.expected_tokens(size(), "m", NOW_S)
    assert (tokens, output_tokens) == (pytest.approx(600, rel=0.02), 1400)
    assert monitor.expected_tokens(size(vision=True), "m", NOW_S) == (1200, 1400), (
        "the bytes of images are not tokens"
    )


def test_d5_a_model_passed_over_for_want_of_quota_is_named():
    assert without_quota(()) == ()
    (degraded,) = without_quota(("m",))
    assert (degraded.rule, degraded.what, degraded.why) == ("rate_limit", "model", "no quota is left of m")
