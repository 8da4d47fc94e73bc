"""Who has been cancelled: heard live, and read from the stored marks at the start."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import nats.errors
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.bus.connection import Reconnects
from penstock.bus.direct_get import read_page
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.streams import CANCELS
from penstock.contract.subjects import CANCEL_ALL

__all__ = ["Cancellations"]

_log: Final = rate_limited_logger(__name__)

_TRIES: Final = 5
"""So many are waited for; then work is taken although not all cancellations may be known."""
_AGAIN_S: Final = 0.5
_LONGEST_WAIT_S: Final = 5.0
_MOST: Final = 100_000
"""Marks outlive the longest wait of a job; of all that were set in a day the newest are remembered."""

Listener = Callable[[str, str], None]


class Cancellations:
    """The cancelled (account, id) of the last day.

    `on_cancel` hears each as it comes; `is_cancelled` answers for work that was still queued.
    """

    def __init__(
        self, on_cancel: Listener | None = None, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._on_cancel = on_cancel
        self._clock_s = clock_s
        self._marks: dict[tuple[str, str], float] = {}
        self._reading: asyncio.Task[None] | None = None

    async def start(self, nc: Nats, reconnects: Reconnects) -> None:
        """Listen, and read the marks: now, and after each lost connection, during which some may have been set."""
        self._nc = nc
        await nc.subscribe(CANCEL_ALL, cb=self._on_message)
        reconnects.add(self._catch_up)
        await self._catch_up()

    def is_cancelled(self, account: str, request_id: str) -> bool:
        return (account, request_id) in self._marks

    def mark(self, account: str, request_id: str) -> None:
        """Remember it, and forget what is older than the stream's own memory."""
        now_s = self._clock_s()
        self._marks.pop((account, request_id), None)
        self._marks[account, request_id] = now_s
        while self._marks:
            oldest = next(iter(self._marks))
            if now_s - self._marks[oldest] <= CANCELS.max_age_s and len(self._marks) <= _MOST:
                break
            del self._marks[oldest]

    async def _catch_up(self) -> None:
        """Where it takes long it goes on in the background: a server that is away must not hold up everything else."""
        for _ in range(_TRIES):
            if await self._has_read():
                return
            await asyncio.sleep(_AGAIN_S)
        _log.error("cancel marks cannot be read: until they are, queued work that was cancelled may run")
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._go_on())
            self._reading.add_done_callback(_tell_failure)

    async def _go_on(self) -> None:
        wait_s = _AGAIN_S
        while not self._nc.is_closed:
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            if await self._has_read():
                _log.warning("cancel marks are read now")
                return

    async def _has_read(self) -> bool:
        try:
            await self._read_marks()
        except (nats.errors.Error, TimeoutError) as error:
            _log.warning("cancel marks cannot be read now: %r", error)
            return False
        return True

    async def _read_marks(self) -> None:
        sequence = 1
        while True:
            page = await read_page(self._nc, CANCELS.name, CANCEL_ALL, sequence=sequence)
            for msg in page.messages:
                self._take((msg.headers or {})["Nats-Subject"])
            if not page.messages or page.pending == 0:
                return
            sequence = page.next_sequence

    async def _on_message(self, msg: Msg) -> None:
        self._take(msg.subject)

    def _take(self, subject: str) -> None:
        _, _, account, request_id = subject.split(".")
        self.mark(account, request_id)
        if self._on_cancel is not None:
            self._on_cancel(account, request_id)


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("reading cancel marks ended by itself", exc_info=task.exception())
