"""The job record of a batch request: its earlier attempts, the attempt that runs, and its end."""

from __future__ import annotations

from msgspec.structs import replace

from penstock.bus.clock import Clock
from penstock.bus.stored_replies import acknowledged_replies
from penstock.contract.jobs import Job, JobResult
from penstock.contract.reply import Completed, Failed, FailedAttempt, ReplyEvent
from penstock.contract.subjects import ReplyAddress
from penstock.contract.work import ChatWork
from penstock.runtime.accounting.prior_attempts import PriorAttempts, started_of, with_record, without_unsent
from penstock.runtime.consumer.delivery import Delivery
from penstock.runtime.jobs.completion import end_from_events, end_job, terminal_event_of
from penstock.runtime.jobs.store import JobStore
from penstock.runtime.jobs.transitions import next_record, queued_job
from penstock.runtime.reply_publisher import AnnouncedAttempt, Superseded, publish_terminal
from penstock.runtime.service import Bus

__all__ = ["JobRecords"]


class JobRecords:
    def __init__(self, bus: Bus, clock: Clock, instance: str) -> None:
        self._bus = bus
        self._jobs = JobStore(bus.js)
        self._clock = clock
        self._instance = instance

    async def prior_attempts(self, work: ChatWork, delivery: Delivery, prior: PriorAttempts) -> PriorAttempts:
        """`prior`, completed from the record. Where only one of the two shows the end of the job, the other is written.

        A second copy of a message that another worker executes counts as ended.
        """
        record = await self._jobs.read(work.reply_to)
        if prior.ended:
            known = record or self._job(work, delivery.sequence)
            if not known.ended:
                await end_from_events(self._bus, self._jobs, known, self._clock.unix_ms())
            return prior if record is None else without_unsent(prior, record)
        if record is None:
            return prior
        if record.ended:
            event = await terminal_event_of(self._jobs, record)
            if event is not None:
                await publish_terminal(self._bus.js, work.reply_to.subject, event)
            # The usage of a completed job was recorded before its end.
            if record.state == "completed":
                return PriorAttempts(ended=True)
            code = None if record.error is None else record.error.code
            return replace(without_unsent(prior, record), ended=True, failed_with=code)
        if await self._jobs.is_held_elsewhere(record, delivery.sequence):
            return PriorAttempts(ended=True)  # the attempts belong to the execution of the other copy
        return with_record(prior, record)

    async def begin_attempt(
        self,
        work: ChatWork,
        message_seq: int,
        number: int,
        announced: AnnouncedAttempt,
        last_failure: FailedAttempt | None = None,
    ) -> None:
        """Write the announced attempt into the record. Without that, a later worker would assume no call was made.
        `last_failure`: of the attempt before, if this process made it.

        Raises Superseded when the record is ahead of the attempt.
        """
        wanted = replace(
            self._job(work, message_seq),
            state="running",
            attempt=number,
            model=announced.model,
            provider=announced.provider,
            worker=self._instance,
            last_failure=last_failure,
        )
        write = await self._jobs.advance(work.reply_to, lambda stored: next_record(stored, wanted))
        if not write.written:
            raise Superseded

    async def end(
        self, work: ChatWork, message_seq: int, event: Completed | Failed, result: JobResult | None
    ) -> Completed | Failed | None:
        """Store `result`, which belongs to a completed event, then the end; returns the end that the record has.

        None: another worker has ended the job, and its answer is no longer stored.
        """
        size = 0 if result is None else await self._jobs.store_result(work.reply_to, result)
        ended = replace(self._job(work, message_seq), worker=self._instance if event.attempt else "")
        write = await end_job(self._jobs, ended, event, self._clock.unix_ms(), size)
        if write.written or write.job is None:
            return event
        return await terminal_event_of(self._jobs, write.job)

    async def events(self, address: ReplyAddress) -> list[ReplyEvent]:
        """The stored reply events, and an attempt that only the record shows."""
        events = await acknowledged_replies(self._bus.nc, address.subject)
        record = await self._jobs.read(address)
        if record is not None and record.attempt > max((event.attempt for event in events), default=0):
            events.append(started_of(record))
        return events

    def _job(self, work: ChatWork, message_seq: int) -> Job:
        return queued_job(work, self._clock.unix_ms(), message_seq)
