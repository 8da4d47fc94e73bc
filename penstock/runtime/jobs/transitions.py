"""The allowed transitions of a job: queued → running → completed or failed, never back, with one end."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from penstock.contract.jobs import Job
from penstock.contract.reply import Completed, Failed
from penstock.contract.work import ChatWork

__all__ = [
    "awaits_router",
    "ended_record",
    "failed_at",
    "next_record",
    "queued_job",
    "record_after_rejection",
    "was_sent",
]

_MESSAGE_CHARACTERS: Final = 500
"""Characters kept of an error message: large records would fill the stream before it has its number of them."""
_MOST_UNSENT: Final = 50
"""Attempt numbers kept in `unsent`, which bounds the list when a claimed number is far above the last one."""


def next_record(stored: Job | None, wanted: Job) -> Job | None:
    """The record to write over `stored`; None: `stored` stays.

    An end is final. A later attempt replaces an earlier one, never the reverse: a replaced worker can only report the
    end of the job.
    """
    if stored is None:
        return wanted
    if stored.ended:
        return None
    if wanted.state == "queued" and not (awaits_router(stored) and not awaits_router(wanted)):
        return None
    if wanted.state == "running" and wanted.attempt <= stored.attempt:
        return None
    if wanted.attempt == stored.attempt:
        # A process that ends the job without having made the attempt does not know its model and worker.
        wanted = replace(
            wanted,
            model=wanted.model or stored.model,
            provider=wanted.provider or stored.provider,
            worker=wanted.worker or stored.worker,
        )
    if (
        wanted.state in {"running", "completed"} and wanted.last_failure is None
    ):  # its process did not see the failure
        wanted = replace(wanted, last_failure=stored.last_failure)
    return replace(
        wanted,
        unsent=_unsent(stored, wanted),
        submitted_ms=stored.submitted_ms,
        deadline_ms=stored.deadline_ms if wanted.deadline_ms is None else wanted.deadline_ms,
        redriven_from=stored.redriven_from,
    )


def record_after_rejection(stored: Job | None, wanted: Job, *, own_record: bool) -> Job | None:
    """The record to write over `stored` when admission rejects a request with this id, whose end would be `wanted`.

    A known job waits in a mailbox or runs, and its worker ends it: a request with the same id is the same request,
    sent again. `own_record`: the record was written for this request, and its work is in no mailbox.
    """
    if stored is not None and not awaits_router(stored) and not (own_record and stored.state == "queued"):
        return None
    return next_record(stored, wanted)


def was_sent(job: Job, attempt: int) -> bool:
    """Whether a provider may have been called for this attempt, which the reply events announce.

    The call is made only after the record is `running` with the number of the attempt.
    """
    return attempt <= job.attempt and attempt not in job.unsent


def awaits_router(job: Job) -> bool:
    """Whether the record was written by the sender of the request, and no router has given it a deadline yet."""
    return job.state == "queued" and job.deadline_ms is None


def queued_job(work: ChatWork, at_ms: int, work_seq: int = 0) -> Job:
    """The record derived from the work alone. `work_seq`: the sequence of its message in `LLM_WORK`, if it has one."""
    return Job(
        id=work.id,
        client=work.client,
        account=work.account,
        user=work.user,
        role=work.role,
        complexity=work.complexity,
        why=work.why,
        state="queued",
        at_ms=at_ms,
        submitted_ms=work.accepted_ms,
        deadline_ms=work.deadline_ms,
        work_seq=work_seq,
    )


def ended_record(job: Job, event: Completed | Failed, at_ms: int, result_bytes: int = 0) -> Job:
    """`job` as `event` ends it. `result_bytes`: the size of its stored answer."""
    if isinstance(event, Failed):
        return _failed(job, event, at_ms)
    return replace(
        job,
        state="completed",
        at_ms=at_ms,
        attempt=event.attempt,
        model=event.model,
        provider=event.provider,
        end_seq=event.seq,
        finish_reason=event.finish_reason,
        usage=event.usage,
        cost_microusd=event.cost_microusd,
        unpriced_attempts=event.unpriced_attempts,
        timings=event.timings,
        result_bytes=result_bytes,
    )


def failed_at(job: Job) -> Failed | None:
    """The terminal reply event of a failed job; None for any other."""
    if job.state != "failed" or job.error is None:
        return None
    return Failed(id=job.id, seq=job.end_seq, attempt=job.attempt, error=job.error, timings=job.timings)


def _unsent(stored: Job, wanted: Job) -> tuple[int, ...]:
    """The attempt numbers that never were in the record: skipped ones, and that of a failure before the call."""
    first = max(stored.attempt + 1, wanted.attempt - _MOST_UNSENT)
    passed_over = range(first, wanted.attempt + (wanted.state == "failed"))
    return (*stored.unsent, *passed_over)[-_MOST_UNSENT:]


def _failed(job: Job, event: Failed, at_ms: int) -> Job:
    return replace(
        job,
        state="failed",
        at_ms=at_ms,
        attempt=event.attempt,
        end_seq=event.seq,
        error=replace(event.error, message=event.error.message[:_MESSAGE_CHARACTERS]),
        timings=event.timings,
    )
