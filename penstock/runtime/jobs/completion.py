"""The one end of a job: its record decides, and the reply tells what the record says.

The record is written first. Whoever dies between the two leaves the message unacknowledged, and the next one who
holds it (or sweeps it) finds the record and tells the same end. The other way round, an end that was told and is
forgotten with the stored replies would be followed by a second one.
"""

from __future__ import annotations

from typing import Final

from penstock.bus.job_store import Follows, JobStore, Standing
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import StreamFull
from penstock.bus.stored_replies import settled_replies
from penstock.contract.jobs import Job, JobResult
from penstock.contract.reply import TERMINAL, Completed, Delta, Failed, ReplyEvent, first_seq
from penstock.runtime.jobs.transitions import ended, failed_at, next_record
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
    follows: Follows = next_record,
) -> Standing:
    """Write `event` as the end of `job`, unless another end stands."""
    wanted = ended(job, event, at_ms, result_bytes)
    return await jobs.advance(job.reply_to, lambda stored: follows(stored, wanted))


async def fail_job(
    jobs: JobStore,
    event: Failed,
    at_ms: int,
    *,
    known: Job | None,
    unless_known: Job | None = None,
    follows: Follows = next_record,
) -> Completed | Failed | None:
    """Write `event` as the end of a job that `known` tells of, and return the end that is to be told.

    `unless_known`: what there is to say of a job without a record; None: then it is no job. None is returned where
    there is nothing to be told: the job goes on, or it is completed and its answer is gone.
    """
    job = known or unless_known
    if job is None:
        return event
    try:
        standing = await end_job(jobs, job, event, at_ms, follows=follows)
    except StreamFull:  # only for a job without a record
        _log.warning("no room for the status of %s, which has failed: %s", event.id, event.error.code)
        return event
    return event if standing.ours or standing.job is None else await terminal_event_of(jobs, standing.job)


async def terminal_event_of(jobs: JobStore, job: Job) -> Completed | Failed | None:
    """The terminal reply event of a job; None where it has not ended, or its answer is not stored any more."""
    if job.state != "completed":
        return failed_at(job)
    result = await jobs.result(job)
    if result is None:
        _log.warning("job %s is completed, and its answer is not stored any more", job.id)
        return None
    return result.completed


async def end_from_events(bus: Bus, jobs: JobStore, job: Job, at_ms: int) -> None:
    """The reply has ended, the record has not: write what was told."""
    events = await settled_replies(bus.nc, job.reply_to.subject)
    event = next((each for each in events if isinstance(each, TERMINAL)), None)
    if event is None:
        return
    size = 0
    if isinstance(event, Completed):
        answer = _answer(event, events)
        if answer is None:
            _log.error("job %s is completed, and its answer is lost: not all of it is stored", job.id)
        else:
            size = await jobs.keep(job.reply_to, answer)
    await end_job(jobs, job, event, at_ms, size)


def _answer(event: Completed, events: list[ReplyEvent]) -> JobResult | None:
    """What the attempt said; None where one of its events is missing: what is cut must not look whole (D6).

    Events can be stored twice, and behind later ones: a sender repeats them after an interruption.
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
