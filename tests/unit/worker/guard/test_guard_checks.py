"""G1, G4: what a verdict means for a request, and what is recorded of it: never content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from penstock.bus import trace_names as names
from penstock.contract.guard.checks import (
    MAX_CHECK_BYTES,
    CheckedText,
    DetectorFailure,
    Finding,
    GuardCheck,
    GuardVerdict,
)
from penstock.runtime.config.guard import Guard
from penstock.runtime.guard.client import GuardUnreachable
from penstock.runtime.guard.effective_policy import effective_policy
from services.worker.guard.check_parts import parts_of
from services.worker.guard.guard_checks import CheckedRequest, GuardChecks, Refused
from services.worker.guard.metrics import RequestGuardMetrics
from tests.harness.records.spans import RecordedSpan, RecordingTracer

TEXTS = [CheckedText(text="my name is Ann")]
FOUND = Finding(
    start=11, end=14, category="personal_data", kind="email", detector="personal_data", action="block"
)


class Guarded:
    """A guard that answers `verdicts` in turn, and what the worker records of it."""

    def __init__(self, *verdicts: GuardVerdict) -> None:
        self.verdicts = list(verdicts)
        self.tracer = RecordingTracer()
        self.registry = CollectorRegistry()
        self.checks = GuardChecks(self, 1.0, self.tracer, RequestGuardMetrics(self.registry))
        policy = effective_policy(Guard(input={"personal_data": "redact"}), "a", {})
        self.request = CheckedRequest("r", "a", "", policy, "00-1-2-01")

    async def check(
        self, check: GuardCheck, wait_s: float, trace: Mapping[str, str] | None = None
    ) -> GuardVerdict:
        assert (check.id, wait_s) == ("r", 1.0)
        assert trace is None, "the spans of this tracer have no names"
        if not self.verdicts:
            raise GuardUnreachable("none")
        return self.verdicts.pop(0)

    async def findings(self, *detectors: Any) -> list[Finding]:
        return await self.checks.findings(self.request, "input", TEXTS, detectors)

    def counted(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"penstock_worker_guard_{name}", labels) or 0.0

    @property
    def span(self) -> RecordedSpan:
        (span,) = self.tracer.spans
        return span


async def test_g1_a_block_names_its_categories_and_the_span_has_no_content() -> None:
    guard = Guarded(GuardVerdict(id="r", action="block", findings=(FOUND,), language="ru"))
    with pytest.raises(Refused, match="личные данные") as refused:
        await guard.findings("personal_data")
    assert (refused.value.code, refused.value.categories) == ("blocked", ("personal_data/email",))
    assert guard.counted("blocked_total", direction="input") == 1
    assert guard.counted("verdict_seconds_count", direction="input") == 1
    span = guard.span
    assert (span.name, span.parent, span.error, span.ended) == ("guard check", "00-1-2-01", None, True)
    assert span.attributes == {
        names.GUARD_DIRECTION: "input",
        names.GUARD_DETECTORS: ["personal_data"],
        names.GUARD_ACTION: "block",
        names.GUARD_FINDINGS: ["personal_data/email"],
    }


async def test_g4_a_check_without_a_verdict_is_refused_or_counted_by_the_policy() -> None:
    guard = Guarded()
    with pytest.raises(Refused) as refused:
        await guard.findings("personal_data", "safety_model")
    assert (refused.value.code, refused.value.retry_after_s) == ("guard_unavailable", 1.0)
    assert guard.counted("unchecked_total", direction="input", why="no_verdict") == 0
    assert guard.span.error == "no_verdict"
    assert guard.request.unchecked == set(), "nothing passed"
    assert await guard.findings("safety_model") == []
    assert guard.counted("unchecked_total", direction="input", why="no_verdict") == 1
    assert guard.request.unchecked == {"input"}


async def test_g4_a_guard_that_returns_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1_000.0
    monkeypatch.setattr("services.worker.guard.guard_checks.loop_now_s", lambda: now_s)
    guard = Guarded()
    assert await guard.findings("safety_model") == []
    flagged = replace(FOUND, action="flag")
    guard.verdicts.append(GuardVerdict(id="r", action="flag", findings=(flagged,)))
    now_s += 4
    assert await guard.findings("safety_model") == []
    assert len(guard.verdicts) == 1
    now_s += 2
    assert await guard.findings("safety_model") == [flagged]
    assert guard.counted("unchecked_total", direction="input", why="no_verdict") == 2


async def test_g1_a_finding_in_the_overlap_of_two_pieces_is_reported_once() -> None:
    text = "x" * (MAX_CHECK_BYTES - 100) + "\n" + "y" * 200
    first, second = (part[0] for part in parts_of([CheckedText(text=text)]))
    place = len(first.checked.text) - 20
    flagged = replace(FOUND, start=place, end=place + 5, action="flag")
    again = replace(flagged, start=place - second.offset, end=place - second.offset + 5)
    guard = Guarded(
        GuardVerdict(id="r", action="flag", findings=(flagged,)),
        GuardVerdict(id="r", action="flag", findings=(again,)),
    )
    found = await guard.checks.findings(guard.request, "input", [CheckedText(text=text)], ("personal_data",))
    assert found == [flagged]


async def test_g4_a_block_goes_before_a_detector_that_failed() -> None:
    failed = (DetectorFailure(detector="prompt_injection", why="timeout", refuses=True),)
    blocked = GuardVerdict(id="r", action="block", findings=(FOUND,), failures=failed)
    allowed = GuardVerdict(id="r", action="allow", failures=failed)
    for verdict, code in ((blocked, "blocked"), (allowed, "guard_unavailable")):
        with pytest.raises(Refused) as refused:
            await Guarded(verdict).findings("personal_data", "prompt_injection")
        assert refused.value.code == code


async def test_g4_a_detector_without_enough_time_says_what_to_raise() -> None:
    failed = (
        DetectorFailure(detector="secrets", why="timeout", refuses=True),
        DetectorFailure(detector="personal_data", why="no quota", refuses=True),
    )
    with pytest.raises(Refused) as refused:
        await Guarded(GuardVerdict(id="r", action="allow", failures=failed)).findings("secrets")
    assert "raise guard.detectors.secrets.timeout_s, personal_data failed" in str(refused.value)


async def test_g4_a_detector_that_fails_open_is_counted() -> None:
    failed = (DetectorFailure(detector="safety_model", why="no quota"),)
    guard = Guarded(GuardVerdict(id="r", action="allow", failures=failed))
    assert await guard.findings("safety_model") == []
    assert guard.counted("unchecked_total", direction="input", why="detector") == 1
    assert guard.request.unchecked == {"input"}
    assert guard.span.attributes[names.GUARD_FAILURES] == ["safety_model"]
