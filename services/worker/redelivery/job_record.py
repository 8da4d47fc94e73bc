"""Jobs in a worker's hands: who worked on one before, which attempt runs, and the end that its record decides.

Nothing here is done for an interactive request.
"""

from __future__ import annotations

from msgspec.structs import replace

from penstock.bus.clock import Clock
from penstock.bus.job_store import JobStore
from penstock.bus.stored_replies import settled_replies
from penstock.contract.jobs import Job, JobResult
from penstock.contract.reply import Completed, Failed, Failure, ReplyEvent, Started, first_seq
from penstock.contract.subjects import ReplyAddress
from penstock.contract.work import ChatWork
from penstock.runtime.consumer.delivery import Delivery
from penstock.runtime.jobs.completion import end_from_events, end_job, fail_job, terminal_event_of
from penstock.runtime.jobs.transitions import next_record, queued_job, was_sent
from penstock.runtime.reply_publisher import Superseded, publish_terminal
from penstock.runtime.service import Bus
from services.worker.execution import state as hands
from services.worker.redelivery.prior_attempts import Past, past_of

__all__ = ["Background", "with_record"]


class Background:
    def __init__(self, bus: Bus, clock: Clock, instance: str) -> None:
        self._bus = bus
        self._jobs = JobStore(bus.js)
        self._clock = clock
        self._instance = instance

    async def look_back(self, work: ChatWork, delivery: Delivery, past: Past) -> Past:
        """`past` and what the record says beyond it. What had ended is told, or written down, whichever was missing.

        Another copy of the message that is being worked on counts as ended: its turn is the other's.
        """
        record = await self._jobs.read(work.reply_to)
        if past.ended:
            known = record or self._job(work, delivery.sequence)
            if not known.ended:
                await end_from_events(self._bus, self._jobs, known, self._clock.unix_ms())
            return past if record is None else _without_unsent(past, record)
        if record is None:
            return past
        if record.ended:
            event = await terminal_event_of(self._jobs, record)
            if event is not None:
                await publish_terminal(self._bus.js, work.reply_to.subject, event)
            # what a completed one spent was recorded before its end
            if record.state == "completed":
                return Past(ended=True)
            return replace(_without_unsent(past, record), ended=True)
        if await self._jobs.is_held_elsewhere(record, delivery.sequence):
            return Past(ended=True)  # nothing was lost: the attempts are those of whoever holds the other
        return with_record(past, record)

    async def begin(self, job: hands.Job, *, model: str, provider: str) -> None:
        """Write down the attempt that was announced; only then may the call be made, or it would count as never sent.

        Raises Superseded when the record is ahead of it.
        """
        if job.work.lane != "batch":
            return
        wanted = replace(
            self._job(job.work, job.work_seq),
            state="running",
            attempt=job.reply.attempt,
            model=model,
            provider=provider,
            worker=self._instance,
        )
        standing = await self._jobs.advance(job.work.reply_to, lambda stored: next_record(stored, wanted))
        if not standing.ours:
            raise Superseded

    async def end(self, job: hands.Job, event: Completed | Failed) -> Completed | Failed | None:
        """Write down the end, the answer before it; returns the end that stands, and is to be told.

        None: somebody else's, whose answer is gone.
        """
        if job.work.lane != "batch":
            return event
        size = 0
        if isinstance(event, Completed):
            text = "".join(flush.text for flush in job.kept)
            choices = tuple(choice for flush in job.kept for choice in flush.choices)
            size = await self._jobs.keep(
                job.work.reply_to, JobResult(completed=event, text=text, choices=choices)
            )
        ending = replace(self._job(job.work, job.work_seq), worker=self._instance if event.attempt else "")
        standing = await end_job(self._jobs, ending, event, self._clock.unix_ms(), size)
        if standing.ours or standing.job is None:
            return event
        return await terminal_event_of(self._jobs, standing.job)

    async def told(self, address: ReplyAddress) -> list[ReplyEvent]:
        """The stored replies, and the attempt of which only a record still tells."""
        events = await settled_replies(self._bus.nc, address.subject)
        record = await self._jobs.read(address)
        if record is not None and record.attempt > max((event.attempt for event in events), default=0):
            events.append(_started(record))
        return events

    async def fail(
        self, address: ReplyAddress, failure: Failure, told: list[ReplyEvent], work_seq: int
    ) -> None:
        """End what is buried, job or not, behind all that was told; not a job of which it was another copy."""
        past = past_of(told)
        record = await self._jobs.read(address)
        if record is not None and await self._jobs.is_held_elsewhere(record, work_seq):
            return
        if past.ended:
            if record is not None and not record.ended:
                await end_from_events(self._bus, self._jobs, record, self._clock.unix_ms())
            return
        event = Failed(id=address.id, seq=past.next_seq, attempt=past.attempt, error=failure)
        standing = await fail_job(self._jobs, event, self._clock.unix_ms(), known=record)
        if standing is not None:
            await publish_terminal(self._bus.js, address.subject, standing)

    def _job(self, work: ChatWork, work_seq: int) -> Job:
        return queued_job(work, self._clock.unix_ms(), work_seq)


def with_record(past: Past, record: Job) -> Past:
    """The stored replies are forgotten after a quarter of an hour; the record then tells of the attempts.

    It also tells which of those that were announced came to a call.
    """
    past = _without_unsent(past, record)
    tried = record.attempt - len(record.unsent)
    if record.attempt <= past.attempt and past.attempts:
        return replace(past, tried=tried)
    if record.attempt == 0:
        return past
    attempt = max(record.attempt, past.attempt)
    return replace(
        past,
        known=True,
        attempts=(*past.attempts, _started(record)),
        attempt=attempt,
        next_seq=max(past.next_seq, first_seq(attempt) + 1),
        output_sent=True,
        text_sent=True,
        tried=tried,
    )


def _without_unsent(past: Past, record: Job) -> Past:
    """What was announced and never came to a call is no lost attempt: nothing was spent on it (F2)."""
    sent = tuple(started for started in past.attempts if was_sent(record, started.attempt))
    return replace(past, attempts=sent)


def _started(record: Job) -> Started:
    return Started(
        id=record.id,
        seq=first_seq(record.attempt),
        attempt=record.attempt,
        model=record.model,
        provider=record.provider,
        worker=record.worker,
        at_ms=record.at_ms,
    )
