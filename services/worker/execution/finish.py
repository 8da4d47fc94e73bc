"""The end of a request: its terminal event, stored and published, and its log line."""

from __future__ import annotations

import logging
from typing import Final

from msgspec import Struct

from penstock.bus import trace_names as names
from penstock.bus.clock import Clock
from penstock.bus.tracing import Span
from penstock.contract import subjects
from penstock.contract.errors import ERRORS
from penstock.contract.jobs import JobResult
from penstock.contract.reply import NO_RESPONSE, Completed, Failed, Failure, Timings
from penstock.contract.work import ChatWork
from services.worker.accounting.usage_recorder import UsageRecorder
from services.worker.estimates.service_times import ServiceTimes
from services.worker.execution.attempt import Success
from services.worker.execution.state import Execution, GaveUp
from services.worker.metrics import Telemetry
from services.worker.redelivery.job_record import JobRecords

__all__ = ["Finisher", "completed", "failed"]

_log: Final = logging.getLogger(__name__)
_CUT_SHORT: Final = frozenset({"interrupted", "superseded", "cancelled", "deadline_exceeded", "handed_back"})
"""Outcomes of requests that stopped before their own end, so that their duration says little."""


class Finisher(Struct, frozen=True):
    """Stores what a request cost and how it ended."""

    recorder: UsageRecorder
    job_records: JobRecords
    service_times: ServiceTimes
    telemetry: Telemetry

    async def finish(self, execution: Execution, event: Completed | Failed) -> None:
        """Store the usage events, the job record and the terminal event: all of them before the acknowledgement."""
        span = self._start_reply_span(execution, event)
        try:
            await self.recorder.wait_stored(execution.work)
            standing: Completed | Failed | None = event
            if execution.work.lane == "batch":
                result = _job_result(execution, event)
                standing = await self.job_records.end(execution.work, execution.message_seq, event, result)
            if standing is not None:
                await execution.reply.finish(standing)
        finally:
            span.end()
        self.telemetry.metrics.count_end(execution.work.role, execution.first_choice, event)
        _log_end(execution.work, event, self.telemetry.clock)

    async def store_usage(self, work: ChatWork) -> None:
        """Wait until the usage events of a request that does not end here are stored."""
        await self.recorder.wait_stored(work)

    def release(self, execution: Execution, held_s: float, outcome: str | None) -> None:
        """The request left this worker after `held_s`; `outcome`: None for a completed one."""
        self.recorder.release(execution.work)
        cut = outcome in _CUT_SHORT
        self.service_times.record_end(execution.work.role, execution.calls, held_s, cut=cut)

    def _start_reply_span(self, execution: Execution, event: Completed | Failed) -> Span:
        return self.telemetry.tracer.start(
            names.SPAN_REPLY,
            "producer",
            parent=execution.span.traceparent,
            attributes={
                names.MESSAGING_SYSTEM: names.NATS,
                names.MESSAGING_OPERATION_NAME: "send",
                names.DESTINATION_TEMPLATE: subjects.REPLY,
                names.OUTCOME: event.error.code if isinstance(event, Failed) else "completed",
            },
        )


def _job_result(execution: Execution, event: Completed | Failed) -> JobResult | None:
    if isinstance(event, Failed):
        return None
    text = "".join(flush.text for flush in execution.batch_output)
    choices = tuple(choice for flush in execution.batch_output for choice in flush.choices)
    return JobResult(completed=event, text=text, choices=choices)


def completed(execution: Execution, success: Success, timings: Timings) -> Completed:
    request_id, seq, attempt = execution.reply.terminal_position()
    return Completed(
        id=request_id,
        seq=seq,
        attempt=attempt,
        role=execution.work.role,
        model=success.model,
        provider=success.provider,
        finish_reason=success.answer.finish_reason,
        usage=success.answer.usage,
        estimated=success.answer.estimated,
        cost_microusd=execution.cost_microusd,
        timings=timings,
        degraded=success.degraded,
        adapted=success.adapted,
        response=success.answer.response or NO_RESPONSE,
    )


def failed(execution: Execution, gave_up: GaveUp, timings: Timings) -> Failed:
    """The `failed` event. Its error also carries the provider's own code and message: those of the last attempt, or of
    the latest attempt with an HTTP status.
    """
    request_id, seq, attempt = execution.reply.terminal_position()
    history = execution.history
    error = None if history.last_failure is None else history.last_failure.error
    if error is not None:
        code, message = error.code or error.type, error.message or None
    else:
        answered = (each for each in reversed(history.failed) if each.status is not None)
        code, message = next(((each.code, each.message) for each in answered), (None, None))
    failure = Failure(
        code=gave_up.code,
        message=str(gave_up),
        retry=ERRORS[gave_up.code].retry,
        retry_after_s=gave_up.retry_after_s,
        provider_code=code,
        provider_message=message,
        attempts=tuple(history.failed),
    )
    return Failed(id=request_id, seq=seq, attempt=attempt, error=failure, timings=timings)


def _log_end(work: ChatWork, event: Completed | Failed, clock: Clock) -> None:
    """Write one log line per request, never with content (REQUIREMENTS J4)."""
    code = event.error.code if isinstance(event, Failed) else None
    fields: dict[str, object] = {
        "request": work.id,
        "account": work.account,
        "user": work.user,
        "role": work.role,
        "attempt": event.attempt,
        "latency_ms": round(clock.unix_s() * 1000 - work.accepted_ms, 1),
        "error": code,
    }
    if isinstance(event, Completed):
        fields |= {
            "model": event.model,
            "tokens_in": event.usage.input_tokens,
            "tokens_out": event.usage.output_tokens,
            "cost_microusd": event.cost_microusd,
            **({"degraded": [each.rule for each in event.degraded]} if event.degraded else {}),
            **({"adapted": [each.parameter for each in event.adapted]} if event.adapted else {}),
        }
    level = logging.INFO if code is None else getattr(logging, ERRORS[code].level.upper())
    _log.log(level, "request ended", extra={"fields": fields})
