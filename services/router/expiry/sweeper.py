"""Ends requests that expire or are cancelled while they wait in a mailbox, whether or not the role has a worker.

The sweep is the only reader of a mailbox that no role of the catalogue has (a removed role, or a foreign message). A
message without a readable address and deadline is a dead letter at once there, and elsewhere a little later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

import nats.errors
from msgspec import Struct
from nats.aio.msg import Msg

from penstock.bus.clock import Clock
from penstock.bus.direct_get import read_page, sequence_of
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import StreamFull
from penstock.contract import headers, subjects
from penstock.contract.errors import ErrorCode
from penstock.contract.headers import TRACEPARENT
from penstock.contract.names import LANES
from penstock.contract.reply import Failure
from penstock.contract.request import LONGEST_WAIT_S
from penstock.contract.streams import WORK
from penstock.contract.subjects import ReplyAddress, work_address
from penstock.runtime.aio import CriticalLoop
from penstock.runtime.cancellation import Cancellations
from penstock.runtime.consumer.delivery import Delivery, Unprocessable
from penstock.runtime.dead_letters import store_dead_letter
from penstock.runtime.jobs.completion import end_unless_ended, failure_of
from penstock.runtime.service import Bus
from penstock.runtime.telemetry.logs import reset_trace, set_trace
from services.router.jobs.orphan_reaper import OrphanReaper
from services.router.metrics import RouterMetrics
from services.router.queues.backlog_poller import BacklogPoller
from services.router.workers.tracker import WorkerTracker

__all__ = ["QueuedMessage", "SweepCursor", "Sweeper"]

_log: Final = rate_limited_logger(__name__)
_EVERY_S: Final = 1.0
"""Seconds between two rounds."""
_PAGE: Final = 250
"""Messages per read."""
_EXPIRED_MS: Final = -(2**62)
"""A deadline that has always passed."""
_TIMEOUT_S: Final = 3.0
"""Seconds that ending one message may take."""
_FAILURES: Final = 5
"""Failed messages after which a round stops: then the server does not answer."""
_NO_ROLE: Final = "unknown"
_UNREADABLE: Final = "its headers have no valid reply subject or no valid deadline"
_NO_MAILBOX: Final = "no role of the catalogue has this mailbox"
_HEAD: Final = 1
"""The lowest stream sequence: reading from here finds the oldest message."""
_DIGITS: Final = 15
"""Most digits of a deadline in milliseconds that a router writes."""
_LONGEST_MS: Final = LONGEST_WAIT_S * 1000
_UNREADABLE_MS: Final = 10_000
"""Milliseconds after which a message with unreadable headers expires: a free worker dead-letters it long before."""


class QueuedMessage(Struct, frozen=True, kw_only=True):
    """Work in a mailbox; a field is None where its header is missing or not valid."""

    subject: str
    sequence: int
    stored_ms: int
    address: ReplyAddress | None
    deadline_ms: int | None

    @classmethod
    def of(cls, sequence: int, written: Mapping[str, str]) -> QueuedMessage:
        """`written`: the headers of a message from a direct get, including those the server adds."""
        return cls(
            subject=written["Nats-Subject"],
            sequence=sequence,
            stored_ms=int(datetime.fromisoformat(written["Nats-Time-Stamp"]).timestamp() * 1000),
            address=subjects.reply_address(written.get(headers.REPLY_SUBJECT, "")),
            deadline_ms=_milliseconds(written.get(headers.DEADLINE_MS, "")),
        )

    @property
    def readable(self) -> bool:
        return self.address is not None and self.deadline_ms is not None

    def expires_ms(self, *, known: bool) -> int:
        """When it expires, Unix milliseconds. `known`: a role of the catalogue has this mailbox.

        No message waits longer than the longest deadline. An unreadable one expires at once if no role has it.
        """
        if self.address is not None and self.deadline_ms is not None:
            return min(self.deadline_ms, self.stored_ms + _LONGEST_MS)
        return self.stored_ms + _UNREADABLE_MS if known else 0


def _milliseconds(text: str) -> int | None:
    readable = text.isascii() and text.isdigit() and len(text) <= _DIGITS
    return int(text) if readable else None


class SweepCursor:
    """The cursor over one mailbox. Each round reads at most `batch` messages:

        while (sequence := cursor.next_sequence) is not None:
            read the first message at or after `sequence`; `visit` it, or `end` if there is none
        cursor.rotate()

    The first half of a round starts at the head, with the oldest messages; the second half continues where the round
    before stopped. So a short deadline behind thousands of long ones is found as well, though later.
    """

    def __init__(self, batch: int = 500) -> None:
        if batch < 2:
            raise ValueError(f"a sweep needs a batch of at least 2, not {batch}")
        self._head_share = (batch + 1) // 2
        self._batch = batch
        self._resume = _HEAD
        self._visited = 0
        self._ended = False
        self._cursor = _HEAD

    @property
    def next_sequence(self) -> int | None:
        """The stream sequence to read at or after; None when the round is over."""
        return None if self._ended or self._visited >= self._batch else self._cursor

    def visit(self, sequence: int, deadline_ms: int, now_ms: int, grace_ms: int = 2000) -> bool:
        """Advance past the message read; returns whether it expired.

        Within `grace_ms` of its deadline a worker may still complete it.
        """
        self._visited += 1
        self._cursor = sequence + 1
        if self._visited == self._head_share:
            self._cursor = max(self._cursor, self._resume)
        return now_ms > deadline_ms + grace_ms

    def end(self) -> None:
        """There is no message at or after `next_sequence`: the next round's second half starts over."""
        self._ended = True

    def rotate(self) -> None:
        """Start a new round at the head."""
        self._resume = _HEAD if self._ended else self._cursor
        self._cursor = _HEAD
        self._visited = 0
        self._ended = False


class Sweeper:
    """Sweeps every non-empty mailbox once a second, then reads a page of job records for orphans."""

    def __init__(
        self,
        bus: Bus,
        roles: Iterable[str],
        tracker: WorkerTracker,
        poller: BacklogPoller,
        metrics: RouterMetrics,
        clock: Clock,
    ) -> None:
        self._bus = bus
        self._mailboxes = {(role, lane) for role in roles for lane in LANES}
        self._tracker = tracker
        self._poller = poller
        self._metrics = metrics
        self._clock = clock
        self._cancellations = Cancellations(bus.nc)
        self._orphans = OrphanReaper(bus, clock)
        self._cursors: dict[str, SweepCursor] = {}
        self._failures = 0
        self._running = CriticalLoop("sweep")

    async def start(self) -> None:
        await self._cancellations.start(self._bus.reconnects)
        self._running.start(self._loop())

    async def stop(self) -> None:
        await self._running.stop()

    async def _loop(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                await self._round()
                await self._orphans.reap()
            except (nats.errors.Error, TimeoutError) as error:
                _log.warning("the sweep cannot read the mailboxes now: %r", error)
            except Exception:  # noqa: BLE001 - without the sweep, requests would end without `failed`
                _log.exception("a round of the sweep failed; the next one starts in %g s", _EVERY_S)

    async def _round(self) -> None:
        counts = await self._poller.poll()
        for role, lane in self._mailboxes:
            self._metrics.queued.labels(role, lane).set(self._poller.backlog.observed(role, lane))
        self._failures = 0
        filters = dict.fromkeys(map(_filter_for, counts))
        self._cursors = {each: self._cursors.get(each) or SweepCursor() for each in filters}
        for each, cursor in self._cursors.items():
            await self._sweep(each, cursor)

    async def _sweep(self, subject: str, cursor: SweepCursor) -> None:
        while (sequence := cursor.next_sequence) is not None:
            page = await read_page(self._bus.nc, WORK.name, subject, sequence=sequence, batch=_PAGE)
            if not page.messages:
                cursor.end()
                break
            for msg in page.messages:
                next_sequence = cursor.next_sequence
                if next_sequence is None or sequence_of(msg) < next_sequence:
                    break
                await self._visit(cursor, msg)
            else:
                if page.pending == 0:
                    cursor.end()
        cursor.rotate()

    async def _visit(self, cursor: SweepCursor, msg: Msg) -> None:
        """End one message if it is due. A failure does not stop the sweep, unless there are several."""
        queued = QueuedMessage.of(sequence_of(msg), msg.headers or {})
        cancelled = self._is_cancelled(queued)
        known = self._role_of(queued.subject) is not None
        expires_ms = _EXPIRED_MS if cancelled else queued.expires_ms(known=known)
        if not cursor.visit(queued.sequence, expires_ms, self._clock.unix_ms()):
            return
        trace = set_trace((msg.headers or {}).get(TRACEPARENT))
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                if not queued.readable and not cancelled:
                    await self._dead_letter(queued, msg)
                if queued.address is not None:
                    await self._end(queued, queued.address, cancelled=cancelled)
                await self._bus.js.delete_msg(WORK.name, queued.sequence)
        except (nats.errors.Error, StreamFull, TimeoutError) as error:
            _log.warning("the sweep cannot end message %d now: %r", queued.sequence, error)
            self._failures += 1
            if self._failures >= _FAILURES:
                raise
        finally:
            reset_trace(trace)

    def _role_of(self, subject: str) -> str | None:
        """The role whose mailbox `subject` is; None if the catalogue has no such role."""
        address = work_address(subject)
        return None if address is None or address[:2] not in self._mailboxes else address.role

    def _is_cancelled(self, queued: QueuedMessage) -> bool:
        address = queued.address
        return address is not None and self._cancellations.is_cancelled(address.account, address.id)

    async def _end(self, queued: QueuedMessage, address: ReplyAddress, *, cancelled: bool) -> None:
        code: ErrorCode = "deadline_exceeded" if queued.readable else "undeliverable"
        code = "cancelled" if cancelled else code
        role = self._role_of(queued.subject) or _NO_ROLE
        failure, now_ms = self._failure(role, code), self._clock.unix_ms()
        await end_unless_ended(self._bus, address, failure, now_ms, work_seq=queued.sequence)
        self._metrics.expired.labels(role, code).inc()

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
        message = f"the deadline passed while the request waited in the queue of the role {role}"
        return failure_of(code, message, self._tracker.retry_after_s(role) or _EVERY_S)


def _filter_for(subject: str) -> str:
    """A filter that matches `subject`, where the server writes U+FFFD for bytes that are not UTF-8.

    All flows of a rank have one filter: they are swept together.
    """
    address = work_address(subject)
    if address is not None:
        subject = subjects.work_of_rank(address.role, address.lane, address.rank)
    parts = subject.split(".")
    return ".".join("*" if part == ">" or "\ufffd" in part else part for part in parts)
