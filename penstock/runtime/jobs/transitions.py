"""What may follow what in the life of a job: queued → running → completed or failed, never back, one end."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from penstock.contract.jobs import Job
from penstock.contract.reply import Completed, Failed, Failure
from penstock.contract.work import ChatWork

__all__ = ["ended", "failed_at", "is_promised", "next_record", "queued_job", "refused", "was_sent"]

_MESSAGE_CHARACTERS: Final = 500
"""Records are small, or the stream that keeps them would reach its bound in bytes."""
_MOST_UNSENT: Final = 50
"""Whoever claims a number far above the last one makes no long list of those between."""


def next_record(stored: Job | None, wanted: Job) -> Job | None:
    """What to write over `stored`; None: what is stored stands.

    An end stands for ever. A later attempt takes the place of an earlier one, and never the other way round: whoever
    had been replaced has nothing to say any more, but that the job has ended.
    """
    if stored is None:
        return wanted
    if stored.ended:
        return None
    if wanted.state == "queued" and not (is_promised(stored) and not is_promised(wanted)):
        return None
    if wanted.state == "running" and wanted.attempt <= stored.attempt:
        return None
    if wanted.attempt == stored.attempt:
        # Who ends it without having made the attempt does not know whose it was.
        wanted = replace(
            wanted,
            model=wanted.model or stored.model,
            provider=wanted.provider or stored.provider,
            worker=wanted.worker or stored.worker,
        )
    return replace(
        wanted,
        unsent=_unsent(stored, wanted),
        submitted_ms=stored.submitted_ms,
        deadline_ms=stored.deadline_ms if wanted.deadline_ms is None else wanted.deadline_ms,
        redriven_from=stored.redriven_from,
    )


def refused(stored: Job | None, wanted: Job, *, ours: bool) -> Job | None:
    """What to write over `stored` where the door refuses a request of this id, which ends it as `wanted`.

    A job that is known waits in a mailbox or runs, and is ended by whoever works on it: the same id is the same
    request, asked for again. `ours`: it was written for this very request, and its work is in no mailbox.
    """
    if stored is not None and not is_promised(stored) and not (ours and stored.state == "queued"):
        return None
    return next_record(stored, wanted)


def was_sent(job: Job, attempt: int) -> bool:
    """Whether a provider may have been called for this attempt, of which the replies tell that it was announced.

    The call is made when the record says `running` with the attempt's number, and never before.
    """
    return attempt <= job.attempt and attempt not in job.unsent


def is_promised(job: Job) -> bool:
    """It was written down by whoever sends the request, and no router has given it a deadline yet."""
    return job.state == "queued" and job.deadline_ms is None


def queued_job(work: ChatWork, at_ms: int, work_seq: int = 0) -> Job:
    """As it is known from the work alone; `work_seq`: the message of the mailbox that holds it, where it does."""
    return Job(
        id=work.id,
        client=work.client,
        account=work.account,
        user=work.user,
        role=work.role,
        state="queued",
        at_ms=at_ms,
        submitted_ms=work.accepted_ms,
        deadline_ms=work.deadline_ms,
        work_seq=work_seq,
    )


def ended(job: Job, event: Completed | Failed, at_ms: int, result_bytes: int = 0) -> Job:
    """`job` as `event` ends it; `result_bytes`: of the answer stored for it."""
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
        timings=event.timings,
        result_bytes=result_bytes,
    )


def failed_at(job: Job) -> Failed | None:
    """The terminal reply event of a failed job; None for any other."""
    if job.state != "failed" or job.error is None:
        return None
    return Failed(id=job.id, seq=job.end_seq, attempt=job.attempt, error=job.error, timings=job.timings)


def _unsent(stored: Job, wanted: Job) -> tuple[int, ...]:
    """Numbers that were passed over never stood in the record. A failure may tell of one that did not, either."""
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
        error=_bounded(event.error),
        timings=event.timings,
    )


def _bounded(failure: Failure) -> Failure:
    return replace(failure, message=failure.message[:_MESSAGE_CHARACTERS])
