"""One check from its message to its verdict: ask the detectors, decide by the policy, and record what was decided."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from penstock.bus.clock import Clock
from penstock.bus.trace_names import ACCOUNT, GUARD_ACTION, REQUEST_ID, SPAN_GUARD_CHECK
from penstock.bus.tracing import NO_SPAN, Span, Tracer
from penstock.contract.events import GuardDecided
from penstock.contract.guard.checks import MAX_CHECK_BYTES, MAX_CHECK_TEXTS, Finding, GuardCheck, GuardVerdict
from penstock.contract.guard.policies import DetectorName
from penstock.contract.reply import text_bytes
from penstock.runtime.guard.effective_policy import EffectivePolicy
from services.guard.detectors.detector import TOO_MUCH_TEXT
from services.guard.detectors.outcome import Outcome
from services.guard.detectors.run import DetectorRunner
from services.guard.metrics import GuardMetrics
from services.guard.policy.decide import decide
from services.guard.policy.decided_event import decided_event

__all__ = ["Checker", "Records"]

_log: Final = logging.getLogger(__name__)
_MOST_LOGGED: Final = 500
"""Characters of a finding in the log, where content is logged."""


class _Policies(Protocol):
    def policy_of(self, account: str) -> EffectivePolicy:
        """The policy in force now."""
        ...


class Records(Struct, frozen=True):
    """Where verdicts leave their traces."""

    instance: str
    metrics: GuardMetrics
    tracer: Tracer
    store: Callable[[GuardDecided], None]
    log_content: bool = False


class Checker:
    def __init__(self, policies: _Policies, runner: DetectorRunner, records: Records, clock: Clock) -> None:
        self._policies = policies
        self._runner = runner
        self._records = records
        self._clock = clock

    async def verdict(self, check: GuardCheck, parent: str | None) -> GuardVerdict:
        """`parent`: the `traceparent` of the request, None without one."""
        began_s = self._clock.monotonic_s()
        span = self._span(check, parent)
        outcome: str | None = "cancelled"
        try:
            policy = self._policies.policy_of(check.account)
            outcomes = await self._outcome(check, policy)
            elapsed_s = self._clock.monotonic_s() - began_s
            verdict = replace(
                decide(check, policy, outcomes),
                elapsed_ms=round(elapsed_s * 1000, 3),
                guard=self._records.instance,
            )
            outcome = "guard_unavailable" if verdict.refuses else None
            span.set(GUARD_ACTION, verdict.action)
        finally:
            span.end(error=outcome)
        self._record(check, verdict, elapsed_s)
        return verdict

    async def _outcome(self, check: GuardCheck, policy: EffectivePolicy) -> Outcome:
        detectors = self._detectors(check, policy)
        if _is_too_large(check):
            return self._runner.refused(detectors, TOO_MUCH_TEXT)
        return await self._runner.run(detectors, check.texts, check.account)

    def _detectors(self, check: GuardCheck, policy: EffectivePolicy) -> tuple[DetectorName, ...]:
        if check.detectors:
            return check.detectors
        return policy.detectors(check.direction) if check.apply_policy else self._runner.names

    def _span(self, check: GuardCheck, parent: str | None) -> Span:
        if parent is None:
            return NO_SPAN
        attributes = {ACCOUNT: check.account, REQUEST_ID: check.id}
        return self._records.tracer.start(
            SPAN_GUARD_CHECK, "server", parent=parent, attributes={**attributes}
        )

    def _record(self, check: GuardCheck, verdict: GuardVerdict, elapsed_s: float) -> None:
        metrics = self._records.metrics
        metrics.duration.observe(elapsed_s)
        metrics.checks.labels(check.direction, verdict.action).inc()
        if verdict.refuses:
            metrics.refused.inc()
        for finding in verdict.findings:
            metrics.findings.labels(finding.category, finding.kind, finding.action).inc()
            if self._records.log_content:
                _log.info("found %s: %r", finding.name, _content(check, finding))
        event = decided_event(check, verdict, self._clock.unix_ms())
        if event is not None:
            self._records.store(event)


def _is_too_large(check: GuardCheck) -> bool:
    if len(check.texts) > MAX_CHECK_TEXTS:
        return True
    return sum(text_bytes(each.text) for each in check.texts) > MAX_CHECK_BYTES


def _content(check: GuardCheck, finding: Finding) -> str:
    text = check.texts[finding.text].text
    return text[finding.start : finding.end or len(text)][:_MOST_LOGGED]
