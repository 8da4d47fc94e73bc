"""The terminal event of a request, and the log line of its end."""

from __future__ import annotations

import logging
from typing import Final

from penstock.bus.clock import Clock
from penstock.contract.errors import ERRORS
from penstock.contract.reply import NO_RESPONSE, Completed, Failed, Failure, Timings
from penstock.contract.work import ChatWork
from penstock.runtime.pricing import microusd
from services.worker.execution.attempt import Success
from services.worker.execution.state import Execution, GaveUp

__all__ = ["completed", "failed", "log_end"]

_log: Final = logging.getLogger(__name__)


def completed(execution: Execution, success: Success, timings: Timings) -> Completed:
    """The `completed` event."""
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
        cost_microusd=microusd(execution.charged.spent.picousd),
        unpriced_attempts=execution.charged.unpriced_attempts,
        timings=timings,
        degraded=success.degraded,
        adapted=success.adapted,
        guarded=success.guarded,
        unchecked=success.unchecked if execution.guard is None else execution.guard.unchecked(),
        left_out=execution.retrieved.left_out,
        citations=execution.retrieved.cited(success.text),
        recalled=execution.retrieved.recalled,
        response=success.response or NO_RESPONSE,
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
        limit=gave_up.limit,
        categories=gave_up.categories,
        param=gave_up.param,
    )
    return Failed(id=request_id, seq=seq, attempt=attempt, error=failure, timings=timings)


def log_end(work: ChatWork, event: Completed | Failed, clock: Clock) -> None:
    """Write one log line per request, never with content (J4)."""
    code = event.error.code if isinstance(event, Failed) else None
    level = logging.INFO if code is None else getattr(logging, ERRORS[code].level.upper())
    if not _log.isEnabledFor(level):
        return
    fields: dict[str, object] = {
        "request": work.id,
        "account": work.account,
        "user": work.user,
        "role": work.role,
        "attempt": event.attempt,
        "latency_ms": round(clock.steady_ms(work.accepted_ms) - work.accepted_ms, 1),
        "error": code,
    }
    if isinstance(event, Completed):
        fields |= {
            "model": event.model,
            "tokens_in": event.usage.input_tokens,
            "tokens_out": event.usage.output_tokens,
            "cost_microusd": None if event.unpriced_attempts else event.cost_microusd,
            **({"degraded": [each.rule for each in event.degraded]} if event.degraded else {}),
            **({"adapted": [each.parameter for each in event.adapted]} if event.adapted else {}),
        }
    _log.log(level, "request ended", extra={"fields": fields})
