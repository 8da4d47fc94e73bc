"""The round of the quota monitor: each second it samples every limit and announces crossed thresholds (C7)."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from penstock.bus.clock import Clock, loop_now_s
from penstock.runtime.aio import CriticalLoop
from services.worker.announcer import Announcer
from services.worker.quota_monitor.monitor import Notice, QuotaMonitor

__all__ = ["QuotaWatch"]

_log: Final = logging.getLogger(__name__)
_EVERY_S: Final = 1.0


class QuotaWatch:
    def __init__(self, quota_monitor: QuotaMonitor, announcer: Announcer, clock: Clock) -> None:
        self._quota_monitor = quota_monitor
        self._announcer = announcer
        self._clock = clock
        self._running = CriticalLoop("quota watch")

    async def start(self) -> None:
        self._running.start(self._loop())

    async def stop(self) -> None:
        await self._running.stop()

    async def _loop(self) -> None:
        while True:
            now_s = loop_now_s()
            for notice in self._quota_monitor.sample(now_s):
                self._announce(notice, now_s)
            await asyncio.sleep(_EVERY_S)

    def _announce(self, notice: Notice, now_s: float) -> None:
        """Announce a crossing: of a shared limit the first worker's event is stored, of its own limits every event."""
        key, use = notice.key, notice.use
        if notice.state == "eased":
            self._announcer.quota_eased(key, use, notice.record)
            return
        _log.warning("%s of %s: %d of %d are used", use.name, key.model, use.used, use.limit)
        status = self._quota_monitor.status(key, use, now_s, self._clock.unix_ms())
        self._announcer.quota_warned(key, use, notice.record, status)
