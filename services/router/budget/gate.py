"""Reserves the cost of an admitted request at the ledger, or rejects it (F1, F3)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from penstock.bus import trace_names as names
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.tracing import Span, Tracer
from penstock.contract import headers, subjects
from penstock.contract.ledger.holds import HoldGranted, HoldRefused, HoldRequest
from penstock.runtime.config.budgets.section import Budgets
from penstock.runtime.holds import HoldClient, LedgerUnavailable
from services.router.budget.estimate import CostEstimator
from services.router.budget.releases import Releases
from services.router.budget.unheld_requests import UnheldRequests
from services.router.budget.wait_slots import WaitSlots
from services.router.metrics import RouterMetrics
from services.router.routing.outcome import Rejected, Routed

__all__ = ["BudgetGate"]

_log: Final = rate_limited_logger(__name__)
_UNAVAILABLE_RETRY_S: Final = 3.0
"""Seconds within which another ledger takes over the partitions of a dead one."""


class _NoAnswer(Struct, frozen=True):
    """No ledger answered."""

    error: LedgerUnavailable
    allowed: bool
    """The request may go on without a hold."""


class BudgetGate:
    """Asks for the hold of each request."""

    def __init__(
        self,
        client: HoldClient,
        estimator: CostEstimator,
        budgets: Budgets,
        releases: Releases,
        metrics: RouterMetrics,
        tracer: Tracer,
    ) -> None:
        self._client = client
        self._estimator = estimator
        self._budgets = budgets
        self.releases = releases
        self._metrics = metrics
        self._tracer = tracer
        self._slots = WaitSlots()
        self._unheld = UnheldRequests()

    async def reserve(self, routed: Routed, trace: Mapping[str, str]) -> Routed | Rejected:
        """The request with its hold and the limits that apply to the sender, or the reason why it must not run.

        Without a ledger the policy `when_ledger_unavailable` decides: `allow` returns the request without a hold, up to
        a number of each account. Requests without an output limit get one, unless the ledger says that no limit on
        tokens or money applies.
        """
        with self._slots.taken(routed.work.account) as may_wait:
            asked = self._estimator.hold_request(routed, self._budgets.hold_wait_s if may_wait else 0.0)
            answer = await self._ask(asked, trace)
        if isinstance(answer, HoldRefused):
            return _refused(routed, answer)
        if isinstance(answer, _NoAnswer):
            return self._without_ledger(self._estimator.bounded(routed), asked, answer)
        if not answer.unbounded:
            routed = self._estimator.bounded(routed)
        accepted = replace(routed.accepted, requests_limit=answer.requests, tokens_limit=answer.tokens)
        return replace(_with_hold(routed, asked), accepted=accepted)

    def reserved_before(self, routed: Routed) -> Routed:
        """The request with the hold that was reserved before it was accepted the first time. It is not asked for again:
        the request may have ended since, and its hold with it.
        """
        routed = self._estimator.bounded(routed)
        return _with_hold(routed, self._estimator.hold_request(routed, wait_s=0.0))

    async def _ask(
        self, asked: HoldRequest, trace: Mapping[str, str]
    ) -> HoldGranted | HoldRefused | _NoAnswer:
        """The answer, with its span and its metrics."""
        began_s = time.perf_counter()
        span = self._start_span(asked, trace)
        outcome, error = "failed", None
        answer: HoldGranted | HoldRefused | _NoAnswer
        try:
            answer = await self._client.hold(asked, _trace_of(span))
            outcome = "granted" if isinstance(answer, HoldGranted) else "refused"
            error = answer.code if isinstance(answer, HoldRefused) else None
        except LedgerUnavailable as missing:
            allows = self._budgets.when_ledger_unavailable == "allow"
            answer = _NoAnswer(missing, allows and self._unheld.take(asked.account))
            outcome = "allowed" if answer.allowed else "unavailable"
            error = "budget_unavailable"
        finally:
            span.set(names.OUTCOME, outcome)
            span.end(error=error)
            self._metrics.holds.labels(outcome).inc()
            self._metrics.hold_duration.observe(time.perf_counter() - began_s)
        return answer

    def _without_ledger(self, routed: Routed, asked: HoldRequest, answer: _NoAnswer) -> Routed | Rejected:
        error = answer.error
        if not answer.allowed:
            _log.warning("requests are rejected, because no ledger answers: %s", error)
            return Rejected(
                code="budget_unavailable",
                message="the cost of the request could not be reserved, because no budget ledger answers; it was not "
                f"accepted, try again in {_UNAVAILABLE_RETRY_S:g} s",
                reply_to=routed.work.reply_to,
                retry_after_s=_UNAVAILABLE_RETRY_S,
                held=error.may_be_held,
            )
        _log.warning("requests go on without a hold, because no ledger answers: %s", error)
        return _with_hold(routed, asked) if error.may_be_held else routed

    def _start_span(self, asked: HoldRequest, trace: Mapping[str, str]) -> Span:
        return self._tracer.start(
            names.SPAN_LEDGER,
            "client",
            parent=trace.get(headers.TRACEPARENT),
            attributes={
                names.MESSAGING_SYSTEM: names.NATS,
                names.MESSAGING_OPERATION_NAME: "send",
                names.DESTINATION_TEMPLATE: subjects.LEDGER_HOLD,
                names.ACCOUNT: asked.account,
            },
        )


def _trace_of(span: Span) -> dict[str, str]:
    return {} if span.traceparent is None else {headers.TRACEPARENT: span.traceparent}


def _with_hold(routed: Routed, asked: HoldRequest) -> Routed:
    work = replace(routed.work, hold_id=asked.id, hold_picousd=asked.picousd, hold_tokens=asked.tokens)
    return replace(routed, work=work)


def _refused(routed: Routed, answer: HoldRefused) -> Rejected:
    return Rejected(
        code=answer.code,
        message=answer.message,
        reply_to=routed.work.reply_to,
        retry_after_s=answer.retry_after_s,
        retry="never" if answer.retry_after_s is None else None,
        limit=answer.limit,
    )
