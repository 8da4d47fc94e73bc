"""Usage events that could not be stored, kept in memory and stored again until they are (F2)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from penstock.bus.clock import loop_now_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import NOT_STORED
from penstock.contract.codec import encode
from penstock.contract.events import UsageRecorded
from penstock.runtime.accounting.usage_events import usage_message_id
from penstock.runtime.aio import cancel_and_wait
from services.worker.metrics import WorkerMetrics

__all__ = ["KeptUsage", "UsageToStore"]

_log: Final = logging.getLogger(__name__)
_retry_log: Final = rate_limited_logger(__name__)
_MOST: Final = 10_000
"""Events of about 1 KB each."""
_PAUSE_S: Final = 1.0
"""Seconds after a failure before the next event is tried."""


class UsageToStore(Struct, frozen=True, gc=False):
    event: UsageRecorded
    traceparent: str | None
    """The span of the request."""


class KeptUsage:
    """Keeps the newest events; what does not fit is logged and counted as lost."""

    def __init__(
        self,
        store: Callable[[UsageToStore], Awaitable[None]],
        metrics: WorkerMetrics,
        *,
        most: int = _MOST,
        pause_s: float = _PAUSE_S,
    ) -> None:
        """`store` raises an error of `NOT_STORED` while JetStream does not store the event."""
        self._store = store
        self._metrics = metrics
        self._most = most
        self._pause_s = pause_s
        self._kept: dict[str, UsageToStore] = {}
        """By message id, in the order in which they are tried."""
        self._storing: asyncio.Task[None] | None = None

    def keep(self, usage: UsageToStore) -> None:
        self._kept[usage_message_id(usage.event)] = usage
        if len(self._kept) > self._most:
            self._lose(next(iter(self._kept)), "too many are kept")
        self._report()
        if self._storing is None or self._storing.done():
            self._storing = asyncio.create_task(self._store_all())

    def take(self, message_id: str) -> UsageToStore | None:
        """The event with this message id, which from now on the caller stores."""
        usage = self._kept.pop(message_id, None)
        if usage is not None:
            self._report()
        return usage

    async def drain(self, within_s: float) -> None:
        """Try for so many seconds more; what is not stored then is logged and lost."""
        storing = self._storing
        if storing is not None and not storing.done():
            await asyncio.wait([storing], timeout=max(0.0, within_s))
            await cancel_and_wait(storing)
        for message_id in tuple(self._kept):
            self._lose(message_id, "the worker stops")
        self._report()

    async def _store_all(self) -> None:
        since_s = loop_now_s()
        while self._kept:
            message_id, usage = next(iter(self._kept.items()))
            try:
                await self._store(usage)
            except NOT_STORED as error:
                _retry_log.warning(
                    "%d usage events are kept in memory for %.0f s, because they cannot be stored: %r",
                    len(self._kept),
                    loop_now_s() - since_s,
                    error,
                )
                if message_id in self._kept:  # another one is tried next
                    self._kept[message_id] = self._kept.pop(message_id)
                await asyncio.sleep(self._pause_s)
            else:
                self._kept.pop(message_id, None)
                self._report()

    def _lose(self, message_id: str, why: str) -> None:
        event = self._kept.pop(message_id).event
        self._metrics.usage_lost.inc()
        _log.error("a usage event was not stored, and %s: %s", why, encode(event).decode())

    def _report(self) -> None:
        self._metrics.usage_kept.set(len(self._kept))
