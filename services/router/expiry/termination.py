"""Ends one request in its mailbox: past its deadline, cancelled, or not readable."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec
from nats.aio.msg import Msg

from penstock.bus.large_bodies import delete_body
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.stored_replies import acknowledged_replies
from penstock.contract import codec
from penstock.contract.errors import ErrorCode
from penstock.contract.headers import TRACEPARENT
from penstock.contract.names import LANES
from penstock.contract.reply import TERMINAL, Failure
from penstock.contract.streams import WORK
from penstock.contract.subjects import ReplyAddress, work_address
from penstock.contract.work import ChatWork
from penstock.runtime.cancellation import Cancellations
from penstock.runtime.consumer.dead_letters import store_dead_letter
from penstock.runtime.consumer.delivery import Delivery, Unprocessable
from penstock.runtime.jobs.completion import failure_of
from penstock.runtime.service import Bus
from services.router.expiry.queued_message import QueuedMessage
from services.router.expiry.request_end import RequestEnder
from services.router.metrics import RouterMetrics
from services.router.workers.tracker import WorkerTracker

__all__ = ["Terminator", "accepted_ms"]

_log: Final = rate_limited_logger(__name__)
_CANCELLED_MS: Final = -(2**62)
"""The expiry of a cancelled request: an instant that has always passed."""
_RETRY_S: Final = 1.0
"""Advice to an expired request, unless a worker of its role expects to continue later."""
_WORKER_ENDS_S: Final = 5.0
"""Seconds after a cancellation in which the worker of a begun request ends it: it stores the usage before it releases
the hold, and may have to count tokens first."""
_NO_ROLE: Final = "unknown"
_UNREADABLE: Final = "its headers have no valid reply subject or no valid deadline"
_NO_MAILBOX: Final = "no role of the catalogue has this mailbox"


class Terminator:
    def __init__(
        self,
        bus: Bus,
        roles: Collection[str],
        cancellations: Cancellations,
        tracker: WorkerTracker,
        metrics: RouterMetrics,
        ender: RequestEnder,
    ) -> None:
        self._bus = bus
        self._roles = roles
        self._cancellations = cancellations
        self._tracker = tracker
        self._metrics = metrics
        self._ender = ender

    def expires_ms(self, queued: QueuedMessage) -> int:
        """When the request expires, Unix milliseconds."""
        if self._is_cancelled(queued):
            return _CANCELLED_MS
        return queued.expires_ms(known=self._role_of(queued.subject) is not None)

    async def terminate(self, queued: QueuedMessage, msg: Msg) -> None:
        """End the request and delete its message. One that cannot be read is a dead letter, unless it is cancelled;
        then a body that is stored apart stays. A begun one that was cancelled a moment ago is left to its worker.
        """
        cancelled = self._is_cancelled(queued)
        if cancelled and queued.address is not None and await self._is_left_to_worker(queued.address):
            return
        is_dead = not queued.readable and not cancelled
        if is_dead:
            await self._dead_letter(queued, msg)
        if queued.address is not None:
            ended = await self._end(queued, queued.address, msg, cancelled=cancelled)
            if ended and queued.is_large and not is_dead:
                await delete_body(self._bus.nc, queued.address)
        await self._bus.js.delete_msg(WORK.name, queued.sequence)

    def _role_of(self, subject: str) -> str | None:
        """The role whose mailbox `subject` is; None if the catalogue has no such role."""
        address = work_address(subject)
        if address is None or address.role not in self._roles or address.lane not in LANES:
            return None
        return address.role

    def _is_cancelled(self, queued: QueuedMessage) -> bool:
        address = queued.address
        return address is not None and self._cancellations.is_cancelled(address.account, address.id)

    async def _is_left_to_worker(self, address: ReplyAddress) -> bool:
        if self._cancellations.age_s(address.account, address.id) >= _WORKER_ENDS_S:
            return False
        events = await acknowledged_replies(self._bus.nc, address.subject)
        return any(event.attempt for event in events) and not any(
            isinstance(event, TERMINAL) for event in events
        )

    async def _end(self, queued: QueuedMessage, address: ReplyAddress, msg: Msg, *, cancelled: bool) -> bool:
        code: ErrorCode = "deadline_exceeded" if queued.readable else "undeliverable"
        code = "cancelled" if cancelled else code
        role = self._role_of(queued.subject) or _NO_ROLE
        traceparent = (msg.headers or {}).get(TRACEPARENT)
        ended = await self._ender.end(
            address,
            self._failure(role, code),
            work_seq=queued.sequence,
            work=_work_in(msg.data),
            trace=None if traceparent is None else {TRACEPARENT: traceparent},
        )
        self._metrics.expired.labels(role, code).inc()
        return ended

    async def _dead_letter(self, queued: QueuedMessage, msg: Msg) -> None:
        delivery = Delivery(
            subject=queued.subject,
            data=msg.data,
            headers=msg.headers or {},
            ack_subject="",
            sequence=queued.sequence,
            number=0,
            stored_ns=queued.stored_ms * 1_000_000,
        )
        why = _UNREADABLE if self._role_of(queued.subject) is not None else _NO_MAILBOX
        _log.warning("message %d on %s is dead-lettered: %s", queued.sequence, queued.subject, why)
        await store_dead_letter(self._bus.js, "router", delivery, Unprocessable("undeliverable", why))
        self._metrics.dead.labels("router").inc()

    def _failure(self, role: str, code: ErrorCode) -> Failure:
        if code == "cancelled":
            return failure_of(code, "the request was cancelled")
        if code == "undeliverable":
            return failure_of(code, f"the work in the mailbox was dead-lettered: {_UNREADABLE}")
        message = f"the deadline passed while the request waited in the mailbox of the role {role}"
        return failure_of(code, message, self._tracker.retry_after_s(role) or _RETRY_S)


def accepted_ms(queued: QueuedMessage, msg: Msg) -> int:
    """When the request was stored, from which its deadline counts: its message may have been stored after a step of the
    server's clock.
    """
    work = _work_in(msg.data)
    return queued.stored_ms if work is None else work.accepted_ms


def _work_in(data: bytes) -> ChatWork | None:
    """None: the message was not written by a router, and no worker made an attempt for it."""
    try:
        return codec.WORK.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
