"""The terminal event of a request, and the one log line about it."""

from __future__ import annotations

import logging
from typing import Final

from penstock.bus.clock import Clock
from penstock.contract.errors import ERRORS
from penstock.contract.reply import NO_RESPONSE, Completed, Failed, Failure, Timings
from penstock.contract.work import ChatWork
from services.worker.execution.attempt import Success
from services.worker.execution.state import GaveUp, Job

__all__ = ["completed", "failed", "log_end"]

_log: Final = logging.getLogger(__name__)


def completed(job: Job, success: Success, provider: str, timings: Timings) -> Completed:
    request_id, seq, attempt = job.reply.terminal_position()
    return Completed(
        id=request_id,
        seq=seq,
        attempt=attempt,
        role=job.work.role,
        model=success.model,
        provider=provider,
        finish_reason=success.answer.finish_reason,
        usage=success.answer.usage,
        estimated=success.answer.estimated,
        cost_microusd=job.cost_microusd,
        timings=timings,
        degraded=success.degraded,
        adapted=success.adapted,
        response=success.answer.response or NO_RESPONSE,
    )


def failed(job: Job, gave_up: GaveUp, timings: Timings) -> Failed:
    """`error` carries the provider's own code and message beside what follows from them: of the last attempt, or of the
    last one of which the provider said anything.
    """
    request_id, seq, attempt = job.reply.terminal_position()
    said = None if job.last_failure is None else job.last_failure.error
    if said is not None:
        code, message = said.code or said.type, said.message or None
    else:
        answered = (each for each in reversed(job.failed_attempts) if each.status is not None)
        code, message = next(((each.code, each.message) for each in answered), (None, None))
    failure = Failure(
        code=gave_up.code,
        message=str(gave_up),
        retry=ERRORS[gave_up.code].retry,
        retry_after_s=gave_up.retry_after_s,
        provider_code=code,
        provider_message=message,
        attempts=tuple(job.failed_attempts),
    )
    return Failed(id=request_id, seq=seq, attempt=attempt, error=failure, timings=timings)


def log_end(work: ChatWork, event: Completed | Failed, clock: Clock) -> None:
    """REQUIREMENTS J4: one line per request, never content."""
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
