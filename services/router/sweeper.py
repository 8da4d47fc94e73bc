"""Ends requests that wait in a mailbox past their deadline, or were cancelled there, whoever serves the role.

Of a mailbox that no role of the catalogue has (the role was taken out, or the message is none of ours) it is the only
reader: what says no deadline there is a dead letter at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

import nats.errors
from nats.aio.msg import Msg

from penstock.cancellations import Cancellations
from penstock.clock import Clock
from penstock.deadletters import bury
from penstock.delivery import Dead, Delivery
from penstock.direct import read_page, sequence_of
from penstock.service import Bus
from penstock.vital import vital
from schemas import headers, subjects
from schemas.errors import ErrorCode
from schemas.names import LANES
from schemas.reply import Failure
from schemas.streams import WORK
from services.router.ending import end_unless_ended, failure_of
from services.router.liveness import Liveness
from services.router.metrics import RouterMetrics
from services.router.sweep import Sweep

__all__ = ["Sweeper"]

_log: Final = logging.getLogger(__name__)
_EVERY_S: Final = 1.0
_LONG_PAST_MS: Final = -(2**62)
_NEVER_MS: Final = 2**62
_LONGEST_NUMBER: Final = 18
"""Digits; what is longer was not written by a router."""
_NO_ROLE: Final = "unknown"


class Sweeper:
    """One round over every mailbox that holds something, once a second."""

    def __init__(
        self, roles: Iterable[str], liveness: Liveness, metrics: RouterMetrics, clock: Clock
    ) -> None:
        self._known = {subjects.work(role, lane): (role, lane) for role in roles for lane in LANES}
        self._sweeps: dict[str, Sweep] = {}
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
            except Exception:  # noqa: BLE001 - without sweeps, requests would end unheard
                _log.exception("a round of the sweep failed; the next one comes in %g s", _EVERY_S)

    async def _round(self) -> None:
        info = await self._bus.js.stream_info(WORK.name, subjects_filter=">")
        counts: dict[str, int] = info.state.subjects or {}
        for subject, (role, lane) in self._known.items():
            self._metrics.queued.labels(role, lane).set(counts.get(subject, 0))
        self._sweeps = {subject: self._sweeps.get(subject) or Sweep() for subject in counts}
        for subject, sweep in self._sweeps.items():
            await self._sweep(subject, sweep)

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
                await self._visit(subject, sweep, msg)
            else:
                if page.pending == 0:
                    sweep.end()
        sweep.rotate()

    async def _visit(self, subject: str, sweep: Sweep, msg: Msg) -> None:
        written = msg.headers or {}
        address = subjects.reply_address(written.get(headers.REPLY_SUBJECT, ""))
        deadline_ms = _milliseconds(written.get(headers.DEADLINE_MS))
        cancelled = address is not None and self._cancellations.is_cancelled(address.account, address.id)
        if cancelled:
            deadline_ms = _LONG_PAST_MS
        elif deadline_ms == _NEVER_MS and subject not in self._known and written["Nats-Subject"] == subject:
            await self._bury(msg)
            deadline_ms = _LONG_PAST_MS
        if sweep.visit(sequence_of(msg), deadline_ms, self._clock.unix_ms()) == "keep":
            return
        code: ErrorCode = "cancelled" if cancelled else "deadline_exceeded"
        role = self._known[subject][0] if subject in self._known else _NO_ROLE
        if address is not None:
            await end_unless_ended(self._bus, address, self._failure(role, code))
        self._metrics.expired.labels(role, code).inc()
        await self._bus.js.delete_msg(WORK.name, sequence_of(msg))

    async def _bury(self, msg: Msg) -> None:
        written = msg.headers or {}
        delivery = Delivery(
            subject=written["Nats-Subject"],
            data=msg.data,
            headers=written,
            ack_subject="",
            sequence=sequence_of(msg),
            number=0,
            stored_ns=0,
        )
        reason = Dead("undeliverable", "no role of the catalogue has this mailbox")
        await bury(self._bus.js, "router", delivery, reason)

    def _failure(self, role: str, code: ErrorCode) -> Failure:
        if code == "cancelled":
            return failure_of(code, "the request was cancelled")
        message = f"the deadline passed while the request waited in the mailbox of the role {role}"
        return failure_of(code, message, self._liveness.retry_after_s(role) or _EVERY_S)


def _milliseconds(text: str | None) -> int:
    """Work without a readable deadline (none of ours) is left to its worker."""
    readable = text is not None and text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER
    return int(text) if text is not None and readable else _NEVER_MS
