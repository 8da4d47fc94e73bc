"""Ends requests that wait in a mailbox past their deadline, or were cancelled there, whoever serves the role.

Of a mailbox that no role of the catalogue has (the role was taken out, or the message is none of ours) it is the only
reader: what does not say there for whom and until when it waits is a dead letter at once, elsewhere a little later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import nats.errors
from nats.aio.msg import Msg

from penstock.bus.clock import Clock
from penstock.bus.direct_get import read_page, sequence_of
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import StreamFull
from penstock.contract import subjects
from penstock.contract.errors import ErrorCode
from penstock.contract.names import LANES
from penstock.contract.reply import Failure
from penstock.contract.streams import WORK
from penstock.contract.subjects import ReplyAddress, work_address
from penstock.runtime.aio import CriticalLoop
from penstock.runtime.cancellation import Cancellations
from penstock.runtime.consumer.delivery import DeadLetter, Delivery
from penstock.runtime.dead_letters import store_dead_letter
from penstock.runtime.service import Bus
from services.router.expiry.cursor import Sweep
from services.router.expiry.queued_message import Queued, read_queued
from services.router.jobs.orphan_reaper import LostJobs
from services.router.metrics import RouterMetrics
from services.router.queues.backlog import Backlog
from services.router.queues.backlog_poller import Counting
from services.router.termination import end_unless_ended, failure_of
from services.router.workers.tracker import Liveness

__all__ = ["Sweeper"]

_log: Final = rate_limited_logger(__name__)
_EVERY_S: Final = 1.0
_LONG_PAST_MS: Final = -(2**62)
_PATIENCE_S: Final = 3.0
"""How long one message may hold the sweep."""
_FAILURES: Final = 5
"""So many in one round, and the rest is left to the next."""
_NO_ROLE: Final = "unknown"
_NO_MAILBOX: Final = "no role of the catalogue has this mailbox"
_NO_WORDS: Final = "its headers do not say for whom, or until when, it waits"


class Sweeper:
    """One round over every mailbox that holds something, once a second."""

    def __init__(
        self,
        roles: Iterable[str],
        liveness: Liveness,
        backlog: Backlog,
        counting: Counting,
        metrics: RouterMetrics,
        clock: Clock,
    ) -> None:
        self._mailboxes = {(role, lane) for role in roles for lane in LANES}
        self._backlog = backlog
        self._counting = counting
        self._sweeps: dict[str, Sweep] = {}
        self._liveness = liveness
        self._metrics = metrics
        self._clock = clock
        self._cancellations = Cancellations()
        self._lost_jobs = LostJobs(clock)
        self._failures = 0
        self._running = CriticalLoop("sweep")

    async def start(self, bus: Bus) -> None:
        self._bus = bus
        self._lost_jobs.bind(bus)
        await self._cancellations.start(bus.nc, bus.reconnects)
        self._running.start(self._loop())

    async def stop(self) -> None:
        await self._running.stop()

    async def _loop(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                await self._round()
                await self._lost_jobs.look()
            except (nats.errors.Error, TimeoutError) as error:
                _log.warning("the sweep cannot read what it needs now: %r", error)
            except Exception:  # noqa: BLE001 - without sweeps, requests would end unheard
                _log.exception("a round of the sweep failed; the next one comes in %g s", _EVERY_S)

    async def _round(self) -> None:
        counts = await self._counting.count()
        for role, lane in self._mailboxes:
            self._metrics.queued.labels(role, lane).set(self._backlog.known(role, lane))
        self._failures = 0
        filters = dict.fromkeys(map(_findable, counts))
        self._sweeps = {each: self._sweeps.get(each) or Sweep() for each in filters}
        for each, sweep in self._sweeps.items():
            await self._sweep(each, sweep)

    def _role(self, subject: str) -> str | None:
        """Whose mailbox it is; None when nobody has it."""
        address = work_address(subject)
        return None if address is None or address[:2] not in self._mailboxes else address.role

    async def _sweep(self, subject: str, sweep: Sweep) -> None:
        while (sequence := sweep.next_sequence) is not None:
            page = await read_page(self._bus.nc, WORK.name, subject, sequence=sequence, batch=250)
            if not page.messages:
                sweep.end()
                break
            for msg in page.messages:
                wanted = sweep.next_sequence
                if wanted is None or sequence_of(msg) < wanted:
                    break
                await self._visit(sweep, msg)
            else:
                if page.pending == 0:
                    sweep.end()
        sweep.rotate()

    async def _visit(self, sweep: Sweep, msg: Msg) -> None:
        """No message holds the sweep up, nor ends it; when several fail, it is the server that cannot now."""
        queued = read_queued(sequence_of(msg), msg.headers or {})
        cancelled = self._is_cancelled(queued)
        over_ms = _LONG_PAST_MS if cancelled else queued.over_ms(known=self._role(queued.subject) is not None)
        if sweep.visit(queued.sequence, over_ms, self._clock.unix_ms()) == "keep":
            return
        try:
            async with asyncio.timeout(_PATIENCE_S):
                if not queued.readable and not cancelled:
                    await self._bury(queued, msg)
                if queued.address is not None:
                    await self._end(queued, queued.address, cancelled=cancelled)
                await self._bus.js.delete_msg(WORK.name, queued.sequence)
        except (nats.errors.Error, StreamFull, TimeoutError) as error:
            _log.warning("the sweep cannot end message %d now: %r", queued.sequence, error)
            self._failures += 1
            if self._failures >= _FAILURES:
                raise

    def _is_cancelled(self, queued: Queued) -> bool:
        address = queued.address
        return address is not None and self._cancellations.is_cancelled(address.account, address.id)

    async def _end(self, queued: Queued, address: ReplyAddress, *, cancelled: bool) -> None:
        code: ErrorCode = "deadline_exceeded" if queued.readable else "undeliverable"
        code = "cancelled" if cancelled else code
        role = self._role(queued.subject) or _NO_ROLE
        failure, now_ms = self._failure(role, code), self._clock.unix_ms()
        await end_unless_ended(self._bus, address, failure, now_ms, work_seq=queued.sequence)
        self._metrics.expired.labels(role, code).inc()

    async def _bury(self, queued: Queued, msg: Msg) -> None:
        delivery = Delivery(
            subject=queued.subject,
            data=msg.data,
            headers=msg.headers or {},
            ack_subject="",
            sequence=queued.sequence,
            number=0,
            stored_ns=queued.stored_ms * 1_000_000,
        )
        why = _NO_WORDS if self._role(queued.subject) is not None else _NO_MAILBOX
        _log.warning("message %d on %s is buried: %s", queued.sequence, queued.subject, why)
        await store_dead_letter(self._bus.js, "router", delivery, DeadLetter("undeliverable", why))
        self._metrics.dead.labels("router").inc()

    def _failure(self, role: str, code: ErrorCode) -> Failure:
        if code == "cancelled":
            return failure_of(code, "the request was cancelled")
        if code == "undeliverable":
            return failure_of(code, f"what waited in the mailbox was buried: {_NO_WORDS}")
        message = f"the deadline passed while the request waited in the mailbox of the role {role}"
        return failure_of(code, message, self._liveness.retry_after_s(role) or _EVERY_S)


def _findable(subject: str) -> str:
    """A filter that matches `subject`, whatever bytes it has: the server writes U+FFFD for those that are no UTF-8.

    All flows of a rank have one: they are swept together.
    """
    address = work_address(subject)
    if address is not None:
        subject = subjects.work_of_rank(address.role, address.lane, address.rank)
    parts = subject.split(".")
    return ".".join("*" if part == ">" or "\ufffd" in part else part for part in parts)
