"""Events of verdicts, stored in the background: a verdict never waits for JetStream."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from nats.js import JetStreamContext

from penstock.bus.ids import new_id
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import NOT_STORED, store
from penstock.contract import codec, subjects
from penstock.contract.events import GuardDecided
from penstock.runtime.aio import cancel_and_wait
from services.guard.metrics import GuardMetrics

__all__ = ["PendingEvents"]

_log: Final = rate_limited_logger(__name__)
_MOST: Final = 1_000
"""Events that wait for JetStream, about 500 bytes each."""
_AT_ONCE: Final = 32


class PendingEvents:
    def __init__(self, js: JetStreamContext, metrics: GuardMetrics) -> None:
        self._js = js
        self._metrics = metrics
        self._tasks: set[asyncio.Task[object]] = set()
        self._turn = asyncio.Semaphore(_AT_ONCE)

    def add(self, event: GuardDecided) -> None:
        """Store the event; it is lost if too many wait, or if JetStream does not store it in time."""
        if len(self._tasks) >= _MOST:
            self._lose("too many wait for JetStream")
            return
        task: asyncio.Task[object] = asyncio.create_task(self._store(event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self, within_s: float) -> None:
        """Wait until the events are stored; those that are late are lost."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=within_s)
            await cancel_and_wait(*late)

    async def _store(self, event: GuardDecided) -> None:
        subject = subjects.event("guard", event.account)
        storing = partial(store, self._js, subject, codec.encode(event), message_id=new_id())
        try:
            async with self._turn:
                await storing()
        except asyncio.CancelledError:
            self._lose("the guard stopped before")
            raise
        except NOT_STORED as error:
            self._lose(repr(error))

    def _lose(self, why: str) -> None:
        self._metrics.events_lost.inc()
        _log.error("the event of a verdict is not stored: %s", why)
