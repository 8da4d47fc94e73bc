"""Jobs at the router: written down when they are accepted, before anybody can work on them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TypeGuard

from msgspec import Struct
from msgspec.structs import replace

from penstock.bus.clock import Clock
from penstock.bus.publish import StreamFull
from penstock.bus.stored_replies import settled_replies
from penstock.contract.jobs import Job
from penstock.contract.reply import Accepted, Completed, Failed
from penstock.contract.subjects import ReplyAddress
from penstock.contract.work import ChatWork
from penstock.runtime.jobs.capacity import BoundedJobStore
from penstock.runtime.jobs.completion import fail_job, terminal_event_of
from penstock.runtime.jobs.store import JobWrite
from penstock.runtime.jobs.transitions import ended, is_promised, next_record, queued_job, refused
from penstock.runtime.reply_publisher import publish_terminal
from penstock.runtime.service import Bus
from services.router.jobs.queued_work import is_in_a_mailbox
from services.router.queues.byte_limits import OVERLOADED_RETRY_S
from services.router.routing.decide import Refused
from services.router.termination import failure_of

__all__ = ["Background", "WrittenDown", "refused_job"]


class WrittenDown(Struct, frozen=True):
    """A request that was let in, and has its status if it is a job."""

    to_queue: bool
    """Its work is to be put into the mailbox."""
    ours: bool = True
    """Nobody knew of it before."""


class Background:
    """Nothing here is done for an interactive request."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def bind(self, bus: Bus) -> None:
        self._bus = bus
        self._jobs = BoundedJobStore(bus.nc, self._clock)

    async def accept(
        self, work: ChatWork, sent: Mapping[str, str], *, accepted_before: bool
    ) -> WrittenDown | Refused:
        """Write a job down as queued.

        A request may come a second time, hours later: then the job may run, or have ended, and its end is told again.
        """
        if work.lane != "batch":
            return WrittenDown(to_queue=True)
        try:
            standing = await self._standing(work)
        except StreamFull:
            return Refused(
                code="overloaded",
                message="there is no room for the status of one more job",
                reply_to=work.reply_to,
                retry_after_s=OVERLOADED_RETRY_S,
                seq=int(accepted_before),
            )
        if standing.job is not None and standing.job.ended:
            await self._tell(standing.job, sent)
        waits = standing.job is not None and standing.job.state == "queued"
        return WrittenDown(to_queue=waits, ours=standing.ours)

    async def end_if_taken(self, work: ChatWork) -> None:
        """Work of this id was in the mailboxes before: of the same job, or of an interactive request.

        The reply is then that request's, and says nothing of the job: only the record does.
        """
        if work.lane != "batch":
            return
        events = await settled_replies(self._bus.nc, work.reply_to.subject)
        accepted = next((event for event in events if isinstance(event, Accepted)), None)
        if accepted is None or accepted.lane == "batch":
            return
        failure = failure_of("invalid_request", f"the id {work.id} is in use by an interactive request")
        event = Failed(id=work.id, seq=accepted.seq + 1, error=failure)
        at_ms = self._clock.unix_ms()
        await self._jobs.advance(
            work.reply_to, lambda stored: ended(stored, event, at_ms) if _is_untouched(stored) else None
        )

    async def refuse(self, job: Job, event: Failed, *, ours: bool) -> Completed | Failed | None:
        """The end that is to be told; None: a job of this id waits or runs, and its own end is.

        `ours`: it waits because this very request was written down, and its work is in no mailbox.
        """
        known = await self._jobs.read(job.reply_to)
        return await fail_job(
            self._jobs,
            event,
            self._clock.unix_ms(),
            known=known,
            unless_known=job,
            follows=partial(refused, ours=ours),
        )

    async def known(self, address: ReplyAddress) -> Job | None:
        return await self._jobs.read(address)

    async def is_lost(self, address: ReplyAddress) -> bool:
        """It was written down as queued, and its work is in no mailbox: a router died in between, or is about it."""
        known = await self._jobs.read(address)
        return (
            _is_untouched(known) and not is_promised(known) and not await is_in_a_mailbox(self._bus.nc, known)
        )

    async def _standing(self, work: ChatWork) -> JobWrite:
        """Raises StreamFull where there is no room for one more."""
        queued = queued_job(work, self._clock.unix_ms())
        return await self._jobs.advance(work.reply_to, lambda stored: next_record(stored, queued))

    async def _tell(self, job: Job, sent: Mapping[str, str]) -> None:
        event = await terminal_event_of(self._jobs, job)
        if event is not None:
            await publish_terminal(self._bus.js, job.reply_to.subject, event, sent)


def _is_untouched(stored: Job | None) -> TypeGuard[Job]:
    return stored is not None and stored.state == "queued" and stored.attempt == 0


def refused_job(refused: Refused, work: ChatWork, at_ms: int) -> Refused:
    """The refusal of `work` after it was routed; of a job with its status, for whoever asks by its id (E4)."""
    return refused if work.lane != "batch" else replace(refused, job=queued_job(work, at_ms))
