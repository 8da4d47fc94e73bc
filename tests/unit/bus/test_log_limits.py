"""Log lines that an outage repeats: the first is logged, then one every ten seconds with the count of the rest."""

from __future__ import annotations

import ast
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.bus.log_limits import RepeatedLogs

ROOT = Path(__file__).parents[3]
LOUD = {"warning", "error", "exception", "critical", "log"}
NOT_LIMITED = {
    "penstock.bus.connection": "has its own limit, which distinguishes lost from restored connections",
    **dict.fromkeys(
        ("penstock.runtime.service", "penstock.runtime.aio"), "logs once, at the end of the process"
    ),
    **dict.fromkeys(
        ("penstock.runtime.buckets.changes", "services.ledger.policies.store"),
        "logs each change of a policy that a person makes",
    ),
    **dict.fromkeys(
        (
            "penstock.runtime.cancellation",
            "penstock.runtime.provisioning.ensure",
            "penstock.runtime.provisioning.reconciler",
        ),
        "repeats every few seconds at most",
    ),
    **dict.fromkeys(
        (
            "penstock.runtime.redelivery.dead_request",
            "services.indexer.requests.run",
            "services.router.handlers",
            "services.worker.execution.terminal_event",
        ),
        "logs the one line per request",
    ),
    "services.edge.auth.open_access": "logs once, at the start of the process",
    **dict.fromkeys(
        ("services.worker.accounting.kept_usage", "services.worker.pending_events"),
        "logs an event that is stored nowhere else",
    ),
    **dict.fromkeys(
        ("services.worker.providers.sdk", "services.worker.models.roster_watch"),
        "logs once per read of a provider's models",
    ),
    **dict.fromkeys(
        (
            "services.worker.rate_limit.shared.pause_events",
            "services.worker.rate_limit.shared.shared_quota",
        ),
        "logs once, at the start of the process",
    ),
    **dict.fromkeys(
        (
            "services.worker.credentials.changes",
            "services.worker.degradation.monitor",
            "services.worker.execution.request_bodies",
            "services.worker.execution.outcomes",
            "services.worker.quota_monitor.watch",
            "services.worker.rate_limit.shared.cas_writer",
            "services.worker.rate_limit.shared.replica",
        ),
        "logs changes of state",
    ),
}
"""Modules whose warnings need no rate limit, with the reason."""


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logger(clock: Clock) -> Iterator[logging.Logger]:
    logger = logging.getLogger("tests.repeated_logs")
    limit = RepeatedLogs(10, clock=clock)
    logger.addFilter(limit)
    yield logger
    logger.removeFilter(limit)


def test_16_600_repetitions_in_a_minute_log_six_lines_with_counts(logger, clock, caplog):
    for _ in range(16_600):
        logger.warning("no acknowledgement for %s", "a subject")
        clock.now_s += 60 / 16_600
    texts = [record.getMessage() for record in caplog.records]
    assert texts[0] == "no acknowledgement for a subject"
    assert texts[1] == "no acknowledgement for a subject (2,766 more not logged)"
    assert len(texts) == 6


def test_lines_are_grouped_by_message_and_not_by_arguments(logger, caplog):
    logger.warning("no acknowledgement for %s", "llm.reply.demo.c.1")
    logger.warning("no acknowledgement for %s", "llm.reply.demo.c.2")
    logger.warning("JetStream lacks %s", "LLM_WORK")
    assert [record.getMessage() for record in caplog.records] == [
        "no acknowledgement for llm.reply.demo.c.1",
        "JetStream lacks LLM_WORK",
    ]


def test_grouping_by_text_separates_arguments_in_bounded_memory(clock, caplog):
    logger = logging.getLogger("tests.repeated_logs.by_text")
    limit = RepeatedLogs(10, by="text", clock=clock)
    logger.addFilter(limit)
    for number in range(2_000):
        logger.warning("%d cannot be read", number)
        logger.warning("%d cannot be read", number)
    assert len(caplog.records) == 2_000
    assert len(limit._last) == 500


def test_lines_are_grouped_by_exception_type(logger, caplog):
    for error in (ValueError("a"), ValueError("b"), KeyError("c")):
        logger.error("a handler failed", exc_info=error)
    assert [record.exc_info[0] for record in caplog.records] == [ValueError, KeyError]


def test_lines_below_warning_are_never_suppressed(logger, caplog):
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            logger.info("took one")
    assert len(caplog.records) == 3


def test_a_percent_sign_without_arguments_stays_unchanged(logger, clock, caplog):
    for _ in range(3):
        logger.warning("90% used")
    clock.now_s += 10
    logger.warning("90% used")
    assert caplog.records[-1].getMessage() == "90% used (2 more not logged)"


@given(pauses=st.lists(st.floats(0, 30), max_size=60))
def test_every_repetition_is_logged_or_counted_once_per_interval(pauses: list[float]):
    clock = Clock()
    limit = RepeatedLogs(10, clock=clock)
    passed_s: list[float] = []
    logged = waiting = 0
    for pause_s in pauses:
        clock.now_s += pause_s
        record = logging.LogRecord("x", logging.WARNING, "", 1, "again", (), None)
        if limit.filter(record):
            passed_s.append(clock.now_s)
            suffix = record.getMessage().removeprefix("again")
            counted = int(suffix.split()[0].strip("(")) if suffix else 0
            assert counted == waiting
            logged, waiting = logged + counted + 1, 0
        else:
            waiting += 1
    assert logged + waiting == len(pauses)
    assert all(later - sooner >= 10 for sooner, later in itertools.pairwise(passed_s))


def test_every_module_that_warns_limits_repetitions_or_is_listed():
    loud = {
        module for package in ("penstock", "services") for module in _modules(package) if _is_loud(module)
    }
    limited = {module for module in loud if "= rate_limited_logger(" in _source(module)}
    assert loud - limited <= set(NOT_LIMITED), "use rate_limited_logger, or name the reason in NOT_LIMITED"


def _modules(package: str) -> list[str]:
    paths = (ROOT / package).rglob("*.py")
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]


def _source(module: str) -> str:
    return (ROOT / module.replace(".", "/")).with_suffix(".py").read_text()


def _is_loud(module: str) -> bool:
    source = _source(module)
    return "_log." in source and any(
        isinstance(node, ast.Attribute)
        and node.attr in LOUD
        and isinstance(node.value, ast.Name)
        and node.value.id == "_log"
        for node in ast.walk(ast.parse(source))
    )
