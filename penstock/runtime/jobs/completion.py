"""The end of a job: its record decides, and the reply event follows the record.

The record is written first. If the process dies before the reply event, the message is unacknowledged, and the next
process that receives or sweeps it finds the record and publishes the same end. In the other order, an end whose reply
events have expired would be followed by a second one.
"""

from __future__ import annotations

from typing import Final

from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import StreamFull
from penstock.bus.stored_replies import settled_replies
from penstock.contract.jobs import Job, JobResult
from penstock.contract.reply import TERMINAL, Completed, Delta, Failed, ReplyEvent, first_seq
from penstock.runtime.jobs.store import JobStore, JobWrite, Transition
from penstock.runtime.jobs.transitions import ended_record, failed_at, next_record
from penstock.runtime.service import Bus

__all__ = ["end_from_events", "end_job", "fail_job", "terminal_event_of"]

_log: Final = rate_limited_logger(__name__)


async def end_job(
    jobs: JobStore,
    job: Job,
    event: Completed | Failed,
    at_ms: int,
    result_bytes: int = 0,
    *,
    follows: Transition = next_record,
) -> JobWrite:
    """Write `event` as the end of `job`, unless it has ended already."""
    wanted = ended_record(job, event, at_ms, result_bytes)
    return await jobs.advance(job.reply_to, lambda stored: follows(stored, wanted))


async def fail_job(
    jobs: JobStore,
    event: Failed,
    at_ms: int,
    *,
    known: Job | None,
    unless_known: Job | None = None,
    follows: Transition = next_record,
) -> Completed | Failed | None:
    """Write `event` as the end of the job with the record `known`, and return the end to publish.

    `unless_known`: the record to use for a job without one; None: without a record the request is not a job. Returns
    None if there is no end to publish: the job goes on, or it is completed and its answer has expired.
    """
    job = known or unless_known
    if job is None:
        return event
    try:
        standing = await end_job(jobs, job, event, at_ms, follows=follows)
    except StreamFull:  # only for a job without a record
        _log.warning("no space for the status of %s, which has failed: %s", event.id, event.error.code)
        return event
    return event if standing.ours or standing.job is None else await terminal_event_of(jobs, standing.job)


async def terminal_event_of(jobs: JobStore, job: Job) -> Completed | Failed | None:
    """The terminal reply event of a job; None if it has not ended, or if its answer is not stored any more."""
    if job.state != "completed":
        return failed_at(job)
    result = await jobs.result(job)
    if result is None:
        _log.warning("job %s is completed, and its answer is not stored any more", job.id)
        return None
    return result.completed


async def end_from_events(bus: Bus, jobs: JobStore, job: Job, at_ms: int) -> None:
    """End the record of a job whose reply has ended, with the terminal event that is stored."""
    events = await settled_replies(bus.nc, job.reply_to.subject)
    event = next((each for each in events if isinstance(each, TERMINAL)), None)
    if event is None:
        return
    size = 0
    if isinstance(event, Completed):
        answer = _answer(event, events)
        if answer is None:
            _log.error("job %s is completed, but its answer is lost: not all reply events are stored", job.id)
        else:
            size = await jobs.keep(job.reply_to, answer)
    await end_job(jobs, job, event, at_ms, size)


def _answer(event: Completed, events: list[ReplyEvent]) -> JobResult | None:
    """The answer of the attempt; None if an event is missing, because a truncated answer must not look complete (D6).

    Events can be stored twice and out of order: a sender repeats them when the delivery epoch changes.
    """
    said = {each.seq: each for each in events if each.attempt == event.attempt}
    if any(seq not in said for seq in range(first_seq(event.attempt), event.seq)):
        return None
    deltas = [each for _, each in sorted(said.items()) if isinstance(each, Delta)]
    return JobResult(
        completed=event,
        text="".join(delta.text for delta in deltas),
        choices=tuple(choice for delta in deltas for choice in delta.choices),
    )
