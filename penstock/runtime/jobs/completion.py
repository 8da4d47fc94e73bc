"""The end of a job: its record decides, and the reply event follows the record.

The record is written first. If the process dies before the reply event, the message is unacknowledged, and the next
process that receives or sweeps it finds the record and publishes the same end. In the other order, an end whose reply
events have expired would be followed by a second one.
"""

from __future__ import annotations

from typing import Final

from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import StreamFull
from penstock.bus.stored_replies import acknowledged_replies
from penstock.bus.write_check import StreamNotWritable
from penstock.contract.errors import ERRORS, ErrorCode
from penstock.contract.jobs import Job, JobResult
from penstock.contract.reply import TERMINAL, Completed, Delta, Failed, Failure, ReplyEvent, first_seq
from penstock.contract.subjects import ReplyAddress
from penstock.runtime.jobs.store import JobStore, JobWrite, Transition
from penstock.runtime.jobs.transitions import ended_record, failed_at, next_record
from penstock.runtime.reply_publisher import publish_terminal
from penstock.runtime.service import Bus

__all__ = ["end_from_events", "end_job", "end_unless_ended", "fail_job", "failure_of", "terminal_event_of"]

_log: Final = rate_limited_logger(__name__)


def failure_of(
    code: ErrorCode, message: str, retry_after_s: float | None = None, param: str | None = None
) -> Failure:
    return Failure(
        code=code, message=message, retry=ERRORS[code].retry, retry_after_s=retry_after_s, param=param
    )


async def end_unless_ended(
    bus: Bus,
    address: ReplyAddress,
    failure: Failure,
    at_ms: int,
    *,
    work_seq: int | None = None,
    events: list[ReplyEvent] | None = None,
) -> bool:
    """End a request, job or not, in place of the worker that should have: publish `failure` after all stored events of
    its reply, unless one of them is terminal. Returns whether the reply has an end now.

    `work_seq`: the mailbox message that is given up; a job that runs under another message goes on. `events`: the
    stored events, if they are known.
    """
    if events is None:
        events = await acknowledged_replies(bus.nc, address.subject)
    jobs = JobStore(bus.js)
    known = await jobs.read(address)
    if any(isinstance(event, TERMINAL) for event in events):
        if known is not None and not known.ended:
            await end_from_events(bus, jobs, known, at_ms)
        return True
    if known is not None and work_seq is not None and await jobs.is_held_elsewhere(known, work_seq):
        return False
    last = max(events, key=lambda event: event.seq, default=None)
    event = Failed(
        id=address.id,
        seq=1 if last is None else last.seq + 1,
        attempt=0 if last is None else last.attempt,
        error=failure,
    )
    end = await fail_job(jobs, event, at_ms, known=known)
    if end is not None:
        await publish_terminal(bus.js, address.subject, end)
    return end is not None


async def end_job(
    jobs: JobStore,
    job: Job,
    event: Completed | Failed,
    at_ms: int,
    result_bytes: int = 0,
    *,
    transition: Transition = next_record,
) -> JobWrite:
    """Write `event` as the end of `job`, unless it has ended already."""
    wanted = ended_record(job, event, at_ms, result_bytes)
    return await jobs.advance(job.reply_to, lambda stored: transition(stored, wanted))


async def fail_job(
    jobs: JobStore,
    event: Failed,
    at_ms: int,
    *,
    known: Job | None,
    record_if_none: Job | None = None,
    transition: Transition = next_record,
) -> Completed | Failed | None:
    """Write `event` as the end of the job with the record `known`, and return the end to publish.

    `record_if_none`: the record to use for a job without one; None: without a record the request is not a job. Returns
    None if there is no end to publish: the job goes on, or it is completed and its answer has expired. Raises what
    `jobs` raises where a known record cannot be written: with its end published, the job would stay queued.
    """
    job = known or record_if_none
    if job is None:
        return event
    try:
        write = await end_job(jobs, job, event, at_ms, transition=transition)
    except (StreamFull, StreamNotWritable) as error:  # with the store of a router, for a job in no mailbox
        if known is not None:
            raise
        _log.warning("no status of %s, which has failed with %s: %s", event.id, event.error.code, error)
        return event
    return event if write.written or write.job is None else await terminal_event_of(jobs, write.job)


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
    events = await acknowledged_replies(bus.nc, job.reply_to.subject)
    event = next((each for each in events if isinstance(each, TERMINAL)), None)
    if event is None:
        return
    size = 0
    if isinstance(event, Completed):
        answer = _answer(event, events)
        if answer is None:
            _log.error("job %s is completed, but its answer is lost: not all reply events are stored", job.id)
        else:
            size = await jobs.store_result(job.reply_to, answer)
    await end_job(jobs, job, event, at_ms, size)


def _answer(event: Completed, events: list[ReplyEvent]) -> JobResult | None:
    """The answer of the attempt; None if an event is missing, because a truncated answer must not look complete (D6).

    Events can be stored twice and out of order: a sender repeats them when the delivery epoch changes.
    """
    by_seq = {each.seq: each for each in events if each.attempt == event.attempt}
    if any(seq not in by_seq for seq in range(first_seq(event.attempt), event.seq)):
        return None
    deltas = [each for _, each in sorted(by_seq.items()) if isinstance(each, Delta)]
    return JobResult(
        completed=event,
        text="".join(delta.text for delta in deltas),
        choices=tuple(choice for delta in deltas for choice in delta.choices),
    )
