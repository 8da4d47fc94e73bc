"""Verdicts of the guard for one request, and what follows where there is none: by the policy of the account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from msgspec import Struct, field

from penstock.bus import trace_names as names
from penstock.bus.clock import loop_now_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.tracing import Span, Tracer
from penstock.contract import headers
from penstock.contract.errors import ErrorCode
from penstock.contract.guard.checks import (
    TIMEOUT,
    CheckedText,
    DetectorFailure,
    Finding,
    GuardCheck,
    GuardVerdict,
)
from penstock.contract.guard.places import ContentPlace
from penstock.contract.guard.policies import DetectorName, Direction
from penstock.runtime.guard.client import GuardUnreachable
from penstock.runtime.guard.effective_policy import EffectivePolicy
from services.worker.guard.check_parts import Part, parts_of, placed
from services.worker.guard.metrics import RequestGuardMetrics
from services.worker.guard.refusal_text import refusal_text

__all__ = ["CheckedRequest", "GuardChecks", "Refused", "VerdictSource", "failed_check"]

_log: Final = rate_limited_logger(__name__)
_RETRY_S: Final = 1.0
_SKIPPED_S: Final = 5.0
"""Seconds after a check without a verdict for which no other check of the request waits, of those that need none: as
long as each took the whole time for it, an answer would stand still at each piece that the guard has to see."""
_NO_VERDICT: Final = "no_verdict"
_DETECTOR: Final = "detector"


class Refused(Exception):
    """The guard ends the request: it blocked the content, or did not check content that needs a check."""

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        categories: tuple[str, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.categories = categories
        self.retry_after_s = retry_after_s


class VerdictSource(Protocol):
    """Asks a guard; a GuardClient."""

    async def check(
        self, check: GuardCheck, wait_s: float, trace: Mapping[str, str] | None = None
    ) -> GuardVerdict:
        """Raises GuardUnreachable."""
        ...


class CheckedRequest(Struct):
    """The request whose texts are checked."""

    id: str
    account: str
    user: str
    policy: EffectivePolicy
    traceparent: str | None
    language: str = ""
    """Of the user, once a verdict says it."""
    skipped_until_s: float = 0.0
    """Checks of detectors that fail open are skipped until then, on the loop's clock."""
    unchecked: set[Direction] = field(default_factory=set)
    """Where a check was not made, and the content passed."""
    places: Sequence[ContentPlace] = ()
    """Of the texts of the input that are checked now."""

    def places_of(self, findings: Sequence[Finding]) -> tuple[ContentPlace, ...]:
        """Where the findings that are blocked are, each place once."""
        blocked = (each.text for each in findings if each.action == "block")
        return tuple(dict.fromkeys(self.places[each] for each in blocked if each < len(self.places)))


class GuardChecks(Struct, frozen=True):
    """Asks the guard about any amount of text."""

    source: VerdictSource
    wait_s: float
    """How long a verdict is waited for."""
    tracer: Tracer
    metrics: RequestGuardMetrics

    async def findings(
        self,
        request: CheckedRequest,
        direction: Direction,
        texts: Sequence[CheckedText],
        detectors: tuple[DetectorName, ...],
        *,
        blocks: bool = True,
    ) -> list[Finding]:
        """What these detectors find in the texts, and the policy allows, flags or redacts. `blocks`: a finding that it
        blocks ends the request; else it is among the others.

        Raises Refused for a block, and for a missing verdict where the policy requires one.
        """
        found: list[Finding] = []
        for parts in parts_of(texts):
            if loop_now_s() < request.skipped_until_s and not request.policy.fails_closed(
                direction, detectors
            ):
                self._note_unchecked(request, direction, _NO_VERDICT)
                continue
            verdict = await self._verdict(request, direction, parts, detectors)
            if verdict is None:
                continue
            request.language = request.language or verdict.language
            in_parts = [placed(parts[each.text], each) for each in verdict.findings if each.text < len(parts)]
            if blocks and verdict.action == "block":
                raise self._blocked(request, direction, in_parts)
            self._require(request, direction, verdict)
            found += in_parts
        return list(dict.fromkeys(found))  # where pieces overlap, a finding is in both

    def block(self, request: CheckedRequest, direction: Direction, findings: Sequence[Finding]) -> None:
        """Raises Refused if one of the findings is blocked."""
        if any(each.action == "block" for each in findings):
            raise self._blocked(request, direction, findings)

    def _blocked(self, request: CheckedRequest, direction: Direction, findings: Sequence[Finding]) -> Refused:
        categories = tuple(dict.fromkeys(each.name for each in findings if each.action == "block"))
        self.metrics.blocked.labels(direction).inc()
        places = request.places_of(findings) if direction == "input" else ()
        return Refused("blocked", refusal_text(direction, categories, request.language, places), categories)

    async def _verdict(
        self,
        request: CheckedRequest,
        direction: Direction,
        parts: Sequence[Part],
        detectors: tuple[DetectorName, ...],
    ) -> GuardVerdict | None:
        """None: no guard answered in time, and the policy lets the content pass."""
        check = GuardCheck(
            id=request.id,
            account=request.account,
            user=request.user,
            direction=direction,
            texts=tuple(part.checked for part in parts),
            detectors=detectors,
        )
        span = self.tracer.start(
            names.SPAN_GUARD,
            "client",
            parent=request.traceparent,
            attributes={names.GUARD_DIRECTION: direction, names.GUARD_DETECTORS: list(detectors)},
        )
        began_s, error = loop_now_s(), None
        try:
            trace = None if span.traceparent is None else {headers.TRACEPARENT: span.traceparent}
            verdict = await self.source.check(check, self.wait_s, trace)
        except GuardUnreachable as unreachable:
            error = _NO_VERDICT
            self._without_verdict(request, direction, detectors, unreachable)
            return None
        except BaseException:
            error = "cancelled"
            raise
        else:
            _describe(span, verdict)
            return verdict
        finally:
            self.metrics.verdict.labels(direction).observe(loop_now_s() - began_s)
            span.end(error=error)

    def _without_verdict(
        self,
        request: CheckedRequest,
        direction: Direction,
        detectors: tuple[DetectorName, ...],
        unreachable: GuardUnreachable,
    ) -> None:
        if request.policy.fails_closed(direction, detectors):
            message = (
                f"the safety check was not made, and the policy of the account requires it: {unreachable}"
            )
            raise Refused("guard_unavailable", message, retry_after_s=_RETRY_S) from unreachable
        request.skipped_until_s = loop_now_s() + _SKIPPED_S
        _log.warning("content passes unchecked: %s", unreachable)
        self._note_unchecked(request, direction, _NO_VERDICT)

    def _note_unchecked(self, request: CheckedRequest, direction: Direction, why: str) -> None:
        request.unchecked.add(direction)
        self.metrics.unchecked.labels(direction, why).inc()

    def _require(self, request: CheckedRequest, direction: Direction, verdict: GuardVerdict) -> None:
        if verdict.refuses:
            failed = ", ".join(_failed(each) for each in verdict.failures if each.refuses)
            message = f"the safety check was not made, and the policy of the account requires it: {failed}"
            raise Refused("guard_unavailable", message, retry_after_s=_RETRY_S)
        if verdict.failures:
            failures = ", ".join(f"{each.detector}: {each.why}" for each in verdict.failures)
            _log.warning("content passes without the check of each detector: %s", failures)
            self._note_unchecked(request, direction, _DETECTOR)


def failed_check(error: BaseException) -> Refused:
    """The refusal of a request with a check that ended by a defect."""
    _log.error("a check of the guard failed: %s", type(error).__name__, exc_info=error)
    return Refused("internal", "the safety check failed; the log line with this error has the details")


def _failed(failure: DetectorFailure) -> str:
    name = failure.detector
    if failure.why != TIMEOUT:
        return f"{name} failed"
    return f"{name} did not finish within its time; the operator can raise guard.detectors.{name}.timeout_s"


def _describe(span: Span, verdict: GuardVerdict) -> None:
    """Add the verdict to the span, without content."""
    span.set(names.GUARD_ACTION, verdict.action)
    if verdict.findings:
        span.set(names.GUARD_FINDINGS, list(dict.fromkeys(each.name for each in verdict.findings)))
    if verdict.failures:
        span.set(names.GUARD_FAILURES, [each.detector for each in verdict.failures])
