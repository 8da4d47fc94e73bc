"""When texts that wait are sent: as soon as a call is free, and once a batch is full or no more texts arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from penstock.bus.clock import loop_now_s
from penstock.bus.log_limits import rate_limited_logger
from services.worker.embedding.request import Text
from services.worker.embedding.text_queue import BatchSize, TextQueue

__all__ = ["Gatherer"]

_log: Final = rate_limited_logger(__name__)
_GATHER_S: Final = 0.02
"""Seconds for which a text waits for others at most, while a call is free."""
_EXPECTED_S: Final = 0.06
"""The same while requests of this worker are about to add theirs: it is busy, not idle."""
_QUIET_S: Final = 0.003
"""Seconds without a further text after which nothing more is waited for."""


class Gatherer:
    """Texts of one role, lane and number of dimensions."""

    def __init__(
        self,
        send: Callable[[list[Text]], Awaitable[None]],
        size: Callable[[], BatchSize],
        calls: int,
        expects_more: Callable[[], bool] = lambda: False,
    ) -> None:
        """`send`: embed a batch, whatever becomes of it. `size`: of the next batch. `calls`: how many `send` are made
        at once. `expects_more`: whether requests are about to add texts.
        """
        self._expects_more = expects_more
        self._send = send
        self._size = size
        self._calls = calls
        self._queue = TextQueue()
        self._sending: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._send_by_s = 0.0
        self._arrived = False
        """A text has arrived since the timer was set."""
        self._stopped = False
        self._due = False
        """The texts have waited for others long enough."""

    @property
    def is_idle(self) -> bool:
        return not self._sending and not len(self._queue)

    def add(self, flow: str, texts: Iterable[Text]) -> None:
        if not len(self._queue):
            self._due = False
            self._send_by_s = loop_now_s() + _GATHER_S
        self._queue.add(flow, texts)
        self._arrived = True
        self._pump()

    async def stop(self) -> None:
        """End the calls in flight; nothing more is sent."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    def _pump(self) -> None:
        if self._stopped:
            return
        while len(self._queue) and len(self._sending) < self._calls:
            size = self._size()
            if not self._due and not self._queue.fills(size):
                break
            batch = self._queue.take(size)
            if batch:
                self._start(batch)
        if len(self._queue) and not self._due and self._timer is None:
            self._set_timer()

    def _start(self, batch: list[Text]) -> None:
        task = asyncio.create_task(self._run(batch))
        self._sending.add(task)
        task.add_done_callback(self._ended)

    async def _run(self, batch: list[Text]) -> None:
        try:
            await self._send(batch)
        except Exception:  # noqa: BLE001 - logged; the requests in it have ended with the error
            _log.exception("a batch of texts was not embedded")

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._pump()

    def _set_timer(self) -> None:
        self._arrived = False
        self._timer = asyncio.get_running_loop().call_later(_QUIET_S, self._check)

    def _check(self) -> None:
        self._timer = None
        late_s = loop_now_s() - self._send_by_s
        if self._expects_more():
            self._due = late_s >= _EXPECTED_S - _GATHER_S
        else:
            self._due = not self._arrived or late_s >= 0
        self._pump()
