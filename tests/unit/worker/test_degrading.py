"""D5: which calls count, what holds for whom, and what the quota is asked for meanwhile."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw
from prometheus_client import CollectorRegistry

from penstock.contract.reply import Usage
from penstock.runtime.config.catalogue import (
    Catalogue,
    Degradation,
    Model,
    OnErrors,
    OnHighLatency,
    Parameters,
    Provider,
    RoleConfig,
)
from services.worker.accounting.usage_recorder import AttemptRecord
from services.worker.degradation.monitor import DegradationMonitor, without_quota
from services.worker.degradation.shorten import RequestSize
from services.worker.metrics import WorkerMetrics
from tests.harness.routed_requests import chat_work

NOW_S = 1000.0
RULES = Degradation(on_high_latency=OnHighLatency(at_least=3), on_errors=OnErrors(at_least=3))
PATIENT = Degradation(on_high_latency=OnHighLatency(at_least=3, slow_s=80), on_errors=OnErrors(enabled=False))
PARAMETERS = Parameters(max_tokens=2000)
CATALOGUE = Catalogue(
    name="test",
    providers={"p": Provider()},
    models={"m": Model(provider="p"), "n": Model(provider="p")},
    roles={
        "chat": RoleConfig(chain=("m", "n"), parameters=PARAMETERS),
        "coding": RoleConfig(chain=("m",), parameters=PARAMETERS),
        "reasoning": RoleConfig(chain=("m",), parameters=PARAMETERS, degradation=PATIENT),
    },
    degradation=RULES,
)
TALK = [{"role": "user", "content": "x" * 100} for _ in range(12)]


@pytest.fixture
def degrading() -> DegradationMonitor:
    return DegradationMonitor(CATALOGUE, WorkerMetrics(CollectorRegistry()))


def observe(
    degrading: DegradationMonitor, *outcomes: str, role: Any = "chat", duration_s: float = 1.0
) -> None:
    for outcome in outcomes:
        record = AttemptRecord(
            number=1, model="m", credential="k", outcome=outcome, usage=Usage(), duration_ms=duration_s * 1000
        )
        degrading.observe(role, record, NOW_S)


def size(role: Any = "chat", *, degrade: bool = True, vision: bool = False, **body: Any) -> RequestSize:
    work = chat_work(
        role=role,
        stream=True,
        vision=vision,
        estimated_tokens=1200,
        degrade=degrade,
        body=Raw(json.dumps({"messages": TALK, **body}).encode()),
    )
    return RequestSize(work, input_tokens=1200, output_tokens=2000)


def held(degrading: DegradationMonitor) -> set[tuple[str, str, str]]:
    return {(each.role, each.model, each.rule) for each in degrading.report(NOW_S)}


@pytest.mark.parametrize("outcome", ["rate_limited", "not_found", "credentials", "too_large", "cancelled"])
def test_d5_what_says_nothing_of_the_models_health_is_no_failure(degrading, outcome):
    observe(degrading, *[outcome] * 50)
    assert held(degrading) == set()
    observe(degrading, "server_error", "completed")
    assert held(degrading) == set(), "nor does it count among the attempts"


def test_d5_failures_count_for_every_role_of_the_model_that_has_the_rule(degrading):
    observe(degrading, "server_error", "completed", "connection", role="coding")
    assert held(degrading) == {("chat", "m", "errors"), ("coding", "m", "errors")}


def test_d5_slowness_counts_for_roles_with_the_same_rule(degrading):
    observe(degrading, *["completed"] * 3, role="reasoning", duration_s=60)
    assert held(degrading) == set(), "a minute is not slow for a role that thinks"
    observe(degrading, *["completed"] * 3, role="coding", duration_s=21)
    assert held(degrading) == {("chat", "m", "high_latency"), ("coding", "m", "high_latency")}


def test_d5_a_timeout_is_slow_and_a_quick_failure_is_not(degrading):
    observe(degrading, "too_slow", "stalled", "no_first_token")
    assert ("chat", "m", "high_latency") in held(degrading)
    other = DegradationMonitor(CATALOGUE, WorkerMetrics(CollectorRegistry()))
    observe(other, *["server_error"] * 5, duration_s=30)
    assert ("chat", "m", "high_latency") not in held(other)


def test_d5_the_quota_is_asked_for_what_will_be_sent(degrading):
    assert degrading.expected_tokens(size(), "m", NOW_S) == (1200, 2000)
    observe(degrading, *["completed"] * 3, duration_s=30)
    assert degrading.expected_tokens(size(), "m", NOW_S) == (1200, 1400)
    assert degrading.expected_tokens(size(), "n", NOW_S) == (1200, 2000), "the other model is quick"
    assert degrading.expected_tokens(size(degrade=False), "m", NOW_S) == (1200, 2000)
    assert degrading.expected_tokens(size(tools=[{}]), "m", NOW_S) == (1200, 2000)
    observe(degrading, *["server_error"] * 3)
    tokens, output_tokens = degrading.expected_tokens(size(), "m", NOW_S)
    assert (tokens, output_tokens) == (pytest.approx(600, rel=0.02), 1400)
    assert degrading.expected_tokens(size(vision=True), "m", NOW_S) == (1200, 1400), (
        "bytes of images are no tokens"
    )


def test_d5_a_model_passed_over_for_want_of_quota_is_named():
    assert without_quota(()) == ()
    (told,) = without_quota(("m",))
    assert (told.rule, told.what, told.why) == ("rate_limit", "model", "no quota is left of m")
