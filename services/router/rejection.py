"""Ends a request that goes no further here: refused, or buried. What waits or runs under its id goes on.

One id is one request. Whoever asks again under the id of one that is worked on is told nothing, and hears its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from penstock.bus.stored_replies import settled
from penstock.contract.errors import ErrorCode
from penstock.contract.jobs import Job
from penstock.contract.names import Lane
from penstock.contract.reply import Accepted, Completed, Failed, Failure, ReplyEvent
from penstock.contract.subjects import ReplyAddress
from penstock.runtime.consumer.delivery import Retry
from penstock.runtime.reply_publisher import publish_behind, publish_first, publish_terminal
from penstock.runtime.service import Bus
from services.router.jobs.recorder import Background
from services.router.routing.decide import Refused
from services.router.termination import failure_of

__all__ = ["Refusing", "may_end"]

_PASSING: Final[frozenset[ErrorCode]] = frozenset({"role_not_served", "overloaded"})
_AGAIN_S: Final = 5.0
"""A worker starts within that time, and a router hears of it."""
_TRIES: Final = 20
"""Each conflict is an event more in the reply, which most often says that there is nothing to end."""


def may_end(
    told: Sequence[ReplyEvent], lane: Lane, *, sent: Accepted | None = None, redelivered: bool
) -> bool:
    """Whether a request that is refused may be the one of which the reply tells, and then waits in no worker's hands.

    `sent`: what this router told before it refused. An `accepted` that somebody else sent is of another request with
    the same id, unless this very message was delivered before.
    """
    return all(
        isinstance(event, Accepted) and event.lane == lane and (redelivered or event == sent)
        for event in told
    )


class _Refusal(Struct, frozen=True, kw_only=True):
    """What would be told, and of what."""

    address: ReplyAddress
    event: Failed
    job: Job | None
    """What is known of a request of the batch lane."""
    ours: bool = False
    """The job waits because this very request was written down, and its work is in no mailbox."""
    redelivered: bool
    sent: Accepted | None = None
    trace: Mapping[str, str] = {}

    @property
    def lane(self) -> Lane:
        return "interactive" if self.job is None else "batch"


class Refusing:
    def __init__(self, background: Background) -> None:
        self._background = background

    def bind(self, bus: Bus) -> None:
        self._bus = bus

    async def refuse(
        self, refused: Refused, address: ReplyAddress, trace: Mapping[str, str], *, redelivered: bool
    ) -> Retry | None:
        """None: it has its end. Retry: a router died between the record and the mailbox, and what is refused now may
        be let in soon; the burial bounds how often.
        """
        lost = redelivered and refused.job is not None and await self._background.is_lost(address)
        if lost and refused.code in _PASSING:
            return Retry(_AGAIN_S)
        failure = failure_of(refused.code, refused.message, refused.retry_after_s)
        await self._end(
            _Refusal(
                address=address,
                event=Failed(id=address.id, seq=refused.seq, error=failure),
                job=refused.job,
                ours=refused.written_down or lost,
                redelivered=redelivered,
                sent=refused.sent,
                trace=trace,
            )
        )
        return None

    async def bury(self, address: ReplyAddress, failure: Failure, job: Job | None) -> None:
        """`job`: what is known of it where it was a request of the batch lane."""
        await self._end(
            _Refusal(
                address=address,
                event=Failed(id=address.id, seq=1, error=failure),
                job=job or await self._background.known(address),
                ours=job is not None and await self._background.is_lost(address),
                redelivered=True,
            )
        )

    async def _end(self, refusal: _Refusal) -> None:
        event: Completed | Failed | None = refusal.event
        if refusal.job is not None:
            event = await self._background.refuse(refusal.job, refusal.event, ours=refusal.ours)
        if event is None:
            return
        js, subject = self._bus.js, refusal.address.subject
        if event is not refusal.event:  # the end that stands is told again
            await publish_terminal(js, subject, event, refusal.trace)
        elif event.seq == 0:
            await publish_first(js, subject, event, refusal.trace)
        else:
            await self._tell_unless_begun(refusal)

    async def _tell_unless_begun(self, refusal: _Refusal) -> None:
        """The server looks as it stores: nothing came to the reply after it was read."""
        subject = refusal.address.subject
        for _ in range(_TRIES):
            told, last = await settled(self._bus.nc, subject)
            if not may_end(told, refusal.lane, sent=refusal.sent, redelivered=refusal.redelivered):
                return
            if await publish_behind(self._bus.js, subject, refusal.event, last, refusal.trace):
                return
        raise TimeoutError(f"{subject} is being written by too many at once")
