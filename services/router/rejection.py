"""Ends a request that goes no further at the router: rejected, or dead-lettered.

One id is one request. A rejection never ends another request of the same id that waits or runs: its reply receives the
end of that request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from penstock.bus.large_bodies import delete_body
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import StreamFull
from penstock.bus.stored_replies import acknowledged_with_sequence
from penstock.bus.write_check import StreamNotWritable, not_writable
from penstock.contract.errors import ErrorCode
from penstock.contract.jobs import Job
from penstock.contract.names import Lane
from penstock.contract.reply import TERMINAL, Accepted, Completed, Failed, Failure, ReplyEvent
from penstock.contract.streams import REPLIES
from penstock.contract.subjects import ReplyAddress
from penstock.runtime.consumer.delivery import Redeliver
from penstock.runtime.jobs.completion import failure_of
from penstock.runtime.reply_publisher import publish_after, publish_terminal, publish_terminal_live
from penstock.runtime.service import Bus
from services.router.budget.releases import Releases
from services.router.jobs.recorder import JobRecorder
from services.router.routing.outcome import Rejected

__all__ = ["Rejecter", "may_terminate"]

_log: Final = rate_limited_logger(__name__)
_TEMPORARY: Final[frozenset[ErrorCode]] = frozenset({"role_not_served", "overloaded"})
"""Codes of rejections whose reason may pass."""
_RETRY_S: Final = 5.0
"""Seconds within which a worker can start and its heartbeat reach the routers."""
_TRIES: Final = 20
"""Attempts to publish; each conflict adds an event to the reply, which usually means there is nothing to end."""


def may_terminate(
    stored: Sequence[ReplyEvent], lane: Lane, *, accepted: Accepted | None = None, redelivered: bool
) -> bool:
    """Whether the stored events can only be those of the rejected request, and no worker holds it.

    `accepted`: the event this router published before the rejection. Any other `accepted` is of another request with
    the same id, unless this very message was delivered before.
    """
    return all(
        isinstance(event, Accepted) and event.lane == lane and (redelivered or event == accepted)
        for event in stored
    )


class _Ending(Struct, frozen=True, kw_only=True):
    """The `failed` event to publish, and the request it ends."""

    address: ReplyAddress
    event: Failed
    job: Job | None
    """Known status of a batch request."""
    own_record: bool = False
    """The record of the job was written for this request, and its work is in no mailbox."""
    redelivered: bool
    gives_up: bool
    """Nothing is repeated where a stream cannot be written: the end is sent to live readers only, and a job without a
    record gets none."""
    accepted: Accepted | None = None
    trace: Mapping[str, str] = {}

    @property
    def lane(self) -> Lane:
        return "interactive" if self.job is None else "batch"


class Rejecter:
    def __init__(self, bus: Bus, recorder: JobRecorder, releases: Releases) -> None:
        self._bus = bus
        self._recorder = recorder
        self._releases = releases

    async def reject(
        self,
        rejected: Rejected,
        address: ReplyAddress,
        trace: Mapping[str, str],
        *,
        redelivered: bool,
        is_large: bool = False,
    ) -> Redeliver | None:
        """Publish the rejection and return None, or return Redeliver for an accepted job that may be enqueued later,
        and for a recorded one whose end cannot be recorded now.

        `is_large`: its body is stored apart, and is deleted if the request ends here. So is its hold released, which
        may also be that of an earlier delivery.

        A router died between the record of such a job and its mailbox. The limit of deliveries bounds the retries.
        """
        lost = redelivered and rejected.job is not None and await self._recorder.is_lost(address)
        if lost and rejected.code in _TEMPORARY:
            return Redeliver(_RETRY_S)
        failure = failure_of(rejected.code, rejected.message, rejected.retry_after_s, rejected.param)
        failure = replace(failure, retry=rejected.retry or failure.retry, limit=rejected.limit)
        ending = _Ending(
            address=address,
            event=Failed(id=address.id, seq=rejected.seq, error=failure),
            job=rejected.job,
            own_record=rejected.recorded or lost,
            redelivered=redelivered,
            gives_up=True,
            accepted=rejected.accepted,
            trace=trace,
        )
        try:
            ended = await self._end(ending)
        except (StreamFull, StreamNotWritable) as error:
            _log.warning(
                "request %s is delivered again, because its end is not stored: %s", address.id, error
            )
            return Redeliver(_RETRY_S)
        if ended and (rejected.held or redelivered):
            await self._releases.release(address, rejected.code, trace)
        if ended and is_large:
            await delete_body(self._bus.nc, address)
        return None

    async def end_dead_letter(self, address: ReplyAddress, failure: Failure, job: Job | None) -> None:
        """Publish the end of a dead-lettered request, which may have been accepted: it is repeated until it is stored.

        `job`: its status if it is known to be a job.
        """
        ended = await self._end(
            _Ending(
                address=address,
                event=Failed(id=address.id, seq=1, error=failure),
                job=job or await self._recorder.read(address),
                own_record=job is not None and await self._recorder.is_lost(address),
                redelivered=True,
                gives_up=False,
            )
        )
        if ended:
            await self._releases.release(address, failure.code)

    async def _end(self, ending: _Ending) -> bool:
        """Whether the request has ended; False where another one of the same id waits or runs."""
        event: Completed | Failed | None = ending.event
        if ending.job is not None:
            event = await self._recorder.reject(
                ending.job, ending.event, own_record=ending.own_record, gives_up=ending.gives_up
            )
        if event is None:
            return False
        js, subject = self._bus.js, ending.address.subject
        if event is not ending.event:  # the record holds another end: publish that one again
            await publish_terminal(js, subject, event, ending.trace)
            return True
        if event.seq == 0:
            return await self._publish(ending, 0)
        return await self._publish_unless_begun(ending)

    async def _publish_unless_begun(self, ending: _Ending) -> bool:
        """Publishes with the last sequence that was read as a condition: the server rejects the event if another one
        was stored since.
        """
        subject = ending.address.subject
        for _ in range(_TRIES):
            stored, last = await acknowledged_with_sequence(self._bus.nc, subject)
            if not may_terminate(
                stored, ending.lane, accepted=ending.accepted, redelivered=ending.redelivered
            ):
                return any(isinstance(event, TERMINAL) for event in stored)
            if await self._publish(ending, last):
                return True
        raise TimeoutError(f"too many processes write to {subject} at once")

    async def _publish(self, ending: _Ending, last: int) -> bool:
        """As `publish_after`: repeated until the end is stored. An ending that `gives_up` is not repeated where the
        server cannot write to `LLM_REPLIES`: a slot would be occupied until it can.
        """
        js, subject = self._bus.js, ending.address.subject
        if not ending.gives_up:
            return await publish_after(js, subject, ending.event, last, ending.trace)
        if REPLIES.name in not_writable(js):
            await publish_terminal_live(self._bus.nc, subject, ending.event, last, ending.trace)
            return True
        try:
            return await publish_after(js, subject, ending.event, last, ending.trace, gives_up=True)
        except StreamNotWritable as error:
            _log.warning("the end of request %s is not stored: %s", ending.address.id, error)
            return True
