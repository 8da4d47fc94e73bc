"""Cancelled requests (D8): received live, read from the stored marks at the start, and ended where they run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, cast

import nats.errors
from msgspec import Struct
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.bus.connection import ConnectionEvents
from penstock.bus.direct_get import read_all
from penstock.bus.retry import RetryPolicy, retry
from penstock.contract.streams import CANCELS
from penstock.contract.subjects import CANCEL_ALL
from penstock.contract.work import ChatWork
from penstock.runtime.service import Bus

__all__ = ["CancellableRequests", "Cancellations"]

_log: Final = logging.getLogger(__name__)

_UNTIL_KNOWN: Final = RetryPolicy(timeout_s=2.0, first_wait_s=0.5, longest_wait_s=0.5)
"""Retries at the start; after them work is taken although some cancellations may be unknown."""
_IN_BACKGROUND: Final = RetryPolicy(timeout_s=math.inf, first_wait_s=0.5, longest_wait_s=5.0)
_MOST: Final = 100_000
"""Marks remembered; the newest are kept. Their age is bounded by the stream's, which exceeds a job's longest wait."""

_UNREADABLE: Final = (nats.errors.Error, TimeoutError)

Listener = Callable[[str, str], None]


class _Mark(Struct, frozen=True, gc=False):
    """When it was received."""

    first_s: float
    last_s: float


class Cancellations:
    """The (account, id) of the requests that were cancelled within a day.

    `on_cancel` is called for each cancellation as it arrives; `is_cancelled` answers for work that was still queued.
    """

    def __init__(
        self, nc: Nats, on_cancel: Listener | None = None, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._nc = nc
        self._on_cancel = on_cancel
        self._clock_s = clock_s
        self._marks: dict[tuple[str, str], _Mark] = {}
        self._reading: asyncio.Task[None] | None = None

    async def start(self, events: ConnectionEvents) -> None:
        """Subscribe, and read the marks now and after each reconnection, because some may have been missed."""
        await self._nc.subscribe(CANCEL_ALL, cb=self._on_message)
        events.add_reconnect_listener(self._catch_up)
        await self._catch_up()

    def is_cancelled(self, account: str, request_id: str) -> bool:
        return (account, request_id) in self._marks

    def age_s(self, account: str, request_id: str) -> float:
        """Seconds since the mark was first received, or read at the start; infinite without one."""
        mark = self._marks.get((account, request_id))
        return math.inf if mark is None else self._clock_s() - mark.first_s

    def mark(self, account: str, request_id: str) -> None:
        """Remember the mark, and forget the ones that are older than the stream keeps them."""
        now_s = self._clock_s()
        before = self._marks.pop((account, request_id), None)
        self._marks[account, request_id] = _Mark(now_s if before is None else before.first_s, now_s)
        while self._marks:
            oldest = next(iter(self._marks))
            if now_s - self._marks[oldest].last_s <= CANCELS.max_age_s and len(self._marks) <= _MOST:
                break
            del self._marks[oldest]

    async def _catch_up(self) -> None:
        """Read the marks; after some seconds go on in the background, so that an absent server blocks nothing else."""
        try:
            await self._read_with_retries(_UNTIL_KNOWN)
        except _UNREADABLE:
            _log.error("cancel marks cannot be read: until they are, queued work that was cancelled may run")
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read_in_background())
                self._reading.add_done_callback(_log_failure)

    async def _read_in_background(self) -> None:
        await asyncio.sleep(_IN_BACKGROUND.first_wait_s)
        with contextlib.suppress(*_UNREADABLE):  # raised only once the connection is closed
            await self._read_with_retries(_IN_BACKGROUND)
            _log.warning("cancel marks could be read now")

    async def _read_with_retries(self, policy: RetryPolicy) -> None:
        await retry(
            self._read_marks,
            on=_UNREADABLE,
            report=lambda error: _log.warning("cancel marks cannot be read now: %r", error),
            policy=policy,
            transient=lambda _: not self._nc.is_closed,
        )

    async def _read_marks(self) -> None:
        async for msg in read_all(self._nc, CANCELS.name, CANCEL_ALL):
            self._take((msg.headers or {})["Nats-Subject"])

    async def _on_message(self, msg: Msg) -> None:
        self._take(msg.subject)

    def _take(self, subject: str) -> None:
        _, _, account, request_id = subject.split(".")
        self.mark(account, request_id)
        if self._on_cancel is not None:
            self._on_cancel(account, request_id)


class _Running(Struct, eq=False):
    """Registers one running request while it is entered. A cancellation of it ends the block with `error`."""

    running_by_request: dict[tuple[str, str], list[_Running]]
    key: tuple[str, str]
    """Its account and id."""
    error: Callable[[], Exception]
    task: asyncio.Task[object]
    cancelled: bool = False

    def __enter__(self) -> None:
        if self.cancelled:
            raise self.error()
        self.running_by_request.setdefault(self.key, []).append(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        running = self.running_by_request[self.key]
        running.remove(self)
        if not running:
            del self.running_by_request[self.key]
        if self.cancelled and isinstance(error, asyncio.CancelledError):  # else this process stops
            self.task.uncancel()
            raise self.error() from error


class CancellableRequests:
    """Requests that run in this process, by account and id; two clients of an account may use the same id."""

    def __init__(self, bus: Bus, cancelled: Callable[[], Exception]) -> None:
        """`cancelled` makes the exception that a cancelled request ends with."""
        self._connection_events = bus.connection_events
        self._cancelled = cancelled
        self._cancellations = Cancellations(bus.nc, self._cancel)
        self._running: dict[tuple[str, str], list[_Running]] = {}

    async def start(self) -> None:
        await self._cancellations.start(self._connection_events)

    def entered(self, work: ChatWork) -> AbstractContextManager[None]:
        """Raises the exception of `cancelled` when the request was cancelled in its mailbox, or is cancelled inside."""
        task = cast("asyncio.Task[object]", asyncio.current_task())
        cancelled = self._cancellations.is_cancelled(work.account, work.id)
        return _Running(self._running, (work.account, work.id), self._cancelled, task, cancelled)

    def is_cancelled(self, work: ChatWork) -> bool:
        return self._cancellations.is_cancelled(work.account, work.id)

    def _cancel(self, account: str, request_id: str) -> None:
        for running in self._running.get((account, request_id), ()):
            if not running.cancelled:
                running.cancelled = True
                running.task.cancel()


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("cancel marks are not read any more", exc_info=task.exception())
