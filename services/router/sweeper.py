"""Ends requests that wait in a mailbox past their deadline, or were cancelled there, whoever serves the role."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

import nats.errors
from nats.aio.msg import Msg

from penstock.cancellations import Cancellations
from penstock.clock import Clock
from penstock.direct import read_page, sequence_of
from penstock.history import stored_replies
from penstock.replies import publish_terminal
from penstock.service import Bus
from penstock.vital import vital
from schemas import headers, subjects
from schemas.errors import ERRORS, ErrorCode
from schemas.names import LANES
from schemas.reply import TERMINAL, Failed, Failure
from schemas.streams import WORK
from services.router.liveness import Liveness
from services.router.metrics import RouterMetrics
from services.router.sweep import Sweep

__all__ = ["Sweeper"]

_log: Final = logging.getLogger(__name__)
_EVERY_S: Final = 1.0
_CANCELLED_MS: Final = 0
"""As a deadline: long past."""


class Sweeper:
    """One round over every mailbox that holds something, once a second."""

    def __init__(
        self, roles: Iterable[str], liveness: Liveness, metrics: RouterMetrics, clock: Clock
    ) -> None:
        self._sweeps = {(role, lane): Sweep() for role in roles for lane in LANES}
        self._liveness = liveness
        self._metrics = metrics
        self._clock = clock
        self._cancellations = Cancellations()
        self._task: asyncio.Task[None] | None = None

    async def start(self, bus: Bus) -> None:
        self._bus = bus
        await self._cancellations.start(bus.nc, bus.reconnects)
        self._task = vital(self._loop(), "sweep")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _loop(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                await self._round()
            except (nats.errors.Error, TimeoutError) as error:
                _log.warning("the sweep cannot read the mailboxes now: %r", error)

    async def _round(self) -> None:
        info = await self._bus.js.stream_info(WORK.name, subjects_filter=">")
        counts = info.state.subjects or {}
        for (role, lane), sweep in self._sweeps.items():
            subject = subjects.work(role, lane)
            waiting = counts.get(subject, 0)
            self._metrics.queued.labels(role, lane).set(waiting)
            if waiting:
                await self._sweep(role, subject, sweep)

    async def _sweep(self, role: str, subject: str, sweep: Sweep) -> None:
        while (sequence := sweep.next_sequence) is not None:
            page = await read_page(self._bus.nc, WORK.name, subject, sequence=sequence, batch=250)
            if not page.messages:
                sweep.end()
                break
            for msg in page.messages:
                wanted = sweep.next_sequence
                if wanted is None or sequence_of(msg) < wanted:
                    break
                await self._visit(role, sweep, msg)
            else:
                if page.pending == 0:
                    sweep.end()
        sweep.rotate()

    async def _visit(self, role: str, sweep: Sweep, msg: Msg) -> None:
        written = msg.headers or {}
        reply_subject = written.get(headers.REPLY_SUBJECT, "")
        cancelled = self._is_cancelled(reply_subject)
        deadline_ms = _CANCELLED_MS if cancelled else _milliseconds(written.get(headers.DEADLINE_MS))
        if sweep.visit(sequence_of(msg), deadline_ms, self._clock.unix_ms()) == "keep":
            return
        code: ErrorCode = "cancelled" if cancelled else "deadline_exceeded"
        if reply_subject:
            await self._end(reply_subject, self._failure(role, code))
        self._metrics.expired.labels(role, code).inc()
        await self._bus.js.delete_msg(WORK.name, sequence_of(msg))

    def _is_cancelled(self, reply_subject: str) -> bool:
        parts = reply_subject.split(".")
        return len(parts) == 5 and self._cancellations.is_cancelled(parts[2], parts[4])

    def _failure(self, role: str, code: ErrorCode) -> Failure:
        if code == "cancelled":
            return Failure(code=code, message="the request was cancelled", retry=ERRORS[code].retry)
        retry_after_s = self._liveness.retry_after_s(role)
        message = f"the deadline passed while the request waited in the mailbox of the role {role}"
        return Failure(
            code=code, message=message, retry=ERRORS[code].retry, retry_after_s=retry_after_s or _EVERY_S
        )

    async def _end(self, reply_subject: str, failure: Failure) -> None:
        """Behind whatever a worker that held it may have sent; one terminal event at most is stored."""
        events = await stored_replies(self._bus.nc, reply_subject)
        if any(isinstance(event, TERMINAL) for event in events):
            return
        last = max(events, key=lambda event: event.seq, default=None)
        event = Failed(
            id=reply_subject.rpartition(".")[2],
            seq=1 if last is None else last.seq + 1,
            attempt=0 if last is None else last.attempt,
            error=failure,
        )
        await publish_terminal(self._bus.js, reply_subject, event)


def _milliseconds(text: str | None) -> int:
    """Work without a readable deadline (none of ours) is left to its worker."""
    return int(text) if text is not None and text.isascii() and text.isdigit() else 2**62
