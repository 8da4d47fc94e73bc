"""Job records at the router: written when a request is accepted, before any worker can run its work."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final, TypeGuard

from msgspec.structs import replace

from penstock.bus.clock import Clock
from penstock.bus.direct_get import read_all
from penstock.bus.publish import StreamFull
from penstock.bus.stored_replies import acknowledged_replies
from penstock.bus.write_check import StreamNotWritable
from penstock.contract import headers, subjects
from penstock.contract.jobs import Job
from penstock.contract.reply import TERMINAL, Accepted, Completed, Failed
from penstock.contract.streams import WORK
from penstock.contract.subjects import ReplyAddress
from penstock.contract.work import ChatWork
from penstock.runtime.jobs.capacity import BoundedJobStore
from penstock.runtime.jobs.completion import fail_job, failure_of, terminal_event_of
from penstock.runtime.jobs.store import JobStore
from penstock.runtime.jobs.transitions import (
    awaits_router,
    ended_record,
    next_record,
    queued_job,
    record_after_rejection,
)
from penstock.runtime.reply_publisher import publish_terminal
from penstock.runtime.service import Bus
from services.router.queues.byte_limits import OVERLOADED_RETRY_S
from services.router.routing.outcome import AlreadyAccepted, Rejected

__all__ = ["JobRecorder"]

_PAGE: Final = 100
"""Messages per read of the mailboxes."""


class JobRecorder:
    """Reads and writes job records. Raises nats.errors.Error or TimeoutError when JetStream does not answer."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._jobs = BoundedJobStore(bus.nc, clock)

    async def was_accepted(self, work: ChatWork) -> bool:
        """Whether the request of `work` was accepted before, by its stored replies and, for a job, its record.

        A rejection alone does not count. The header that marks a request as repeated is not proof: anyone can set it.
        """
        events = await acknowledged_replies(self._bus.nc, work.reply_to.subject)
        if any(not isinstance(event, Failed) for event in events):
            return True
        if work.lane != "batch":
            return False
        record = await self._jobs.read(work.reply_to)
        return record is not None and not awaits_router(record)

    async def record(
        self, work: ChatWork, trace: Mapping[str, str], *, accepted_before: bool
    ) -> bool | AlreadyAccepted | Rejected:
        """Write a job as queued; returns whether this request created the record.

        A request may be repeated hours later, when its job runs or has ended; the end is then published again.
        """
        queued = queued_job(work, self._clock.unix_ms())
        try:
            write = await self._jobs.advance(work.reply_to, lambda stored: next_record(stored, queued))
        except StreamFull:
            return _overloaded(work, "there is no room for the status of one more job", accepted_before)
        except StreamNotWritable as error:
            return _overloaded(work, f"{error}; send the job again", accepted_before)
        if write.job is not None and write.job.ended:
            await self._publish_end(write.job, trace)
        if write.job is None or write.job.state != "queued":
            return AlreadyAccepted()
        return write.written

    def with_job(self, rejected: Rejected, work: ChatWork) -> Rejected:
        """`rejected` with the status of a batch request, so that the rejection can be read by the job's id (E4)."""
        if work.lane != "batch":
            return rejected
        return replace(rejected, job=queued_job(work, self._clock.unix_ms()))

    async def has_ended(self, work: ChatWork) -> bool:
        """Whether the request of this id has ended, by its stored replies or, where they are not stored any more, its
        record. Its replies may be those of a request of the other lane.
        """
        events = await acknowledged_replies(self._bus.nc, work.reply_to.subject)
        if events or work.lane != "batch":
            return any(isinstance(event, TERMINAL) for event in events)
        record = await self._jobs.read(work.reply_to)
        return record is not None and record.ended

    async def end_if_id_taken(self, work: ChatWork) -> None:
        """End the job of `work`, which was in a mailbox before, if its id belongs to an interactive request.

        The reply then is that request's; only the record tells of the job.
        """
        if work.lane != "batch":
            return
        events = await acknowledged_replies(self._bus.nc, work.reply_to.subject)
        accepted = next((event for event in events if isinstance(event, Accepted)), None)
        if accepted is None or accepted.lane == "batch":
            return
        failure = failure_of("invalid_request", f"the id {work.id} is in use by an interactive request")
        event = Failed(id=work.id, seq=accepted.seq + 1, error=failure)
        at_ms = self._clock.unix_ms()
        await self._jobs.advance(
            work.reply_to, lambda stored: ended_record(stored, event, at_ms) if _is_waiting(stored) else None
        )

    async def reject(
        self, job: Job, event: Failed, *, own_record: bool, gives_up: bool
    ) -> Completed | Failed | None:
        """Record the rejection; returns the terminal event to publish, or None while a job of this id goes on.

        `own_record`: the record was written for this request, and its work is in no mailbox. `gives_up`: raises
        StreamNotWritable within 2 s where the end of a recorded job cannot be written, and StreamFull without storage;
        else that is repeated. A job without a record then gets none.
        """
        known = await self._jobs.read(job.reply_to)
        return await fail_job(
            self._jobs if gives_up or known is None else JobStore(self._bus.js),
            event,
            self._clock.unix_ms(),
            known=known,
            record_if_none=job,
            transition=partial(record_after_rejection, own_record=own_record),
        )

    async def read(self, address: ReplyAddress) -> Job | None:
        return await self._jobs.read(address)

    async def is_lost(self, address: ReplyAddress) -> bool:
        """Whether a job is recorded as queued and its work is in no mailbox.

        A router died between the two writes, or is between them now.
        """
        known = await self._jobs.read(address)
        return _is_waiting(known) and not awaits_router(known) and not await self._has_queued_work(known)

    async def _has_queued_work(self, job: Job) -> bool:
        """Search all work of the job's user in the mailboxes; expensive, and rarely needed."""
        filters = subjects.work_of_flow(subjects.flow(job.account, job.user))
        async for msg in read_all(self._bus.nc, WORK.name, filters, batch=_PAGE):
            if (msg.headers or {}).get(headers.REPLY_SUBJECT) == job.reply_to.subject:
                return True
        return False

    async def _publish_end(self, job: Job, trace: Mapping[str, str]) -> None:
        event = await terminal_event_of(self._jobs, job)
        if event is not None:
            await publish_terminal(self._bus.js, job.reply_to.subject, event, trace)


def _overloaded(work: ChatWork, message: str, accepted_before: bool) -> Rejected:  # noqa: FBT001 - as `record`
    return Rejected(
        code="overloaded",
        message=message,
        reply_to=work.reply_to,
        retry_after_s=OVERLOADED_RETRY_S,
        seq=int(accepted_before),
    )


def _is_waiting(stored: Job | None) -> TypeGuard[Job]:
    """Whether the job is queued and no attempt has begun."""
    return stored is not None and stored.state == "queued" and stored.attempt == 0
