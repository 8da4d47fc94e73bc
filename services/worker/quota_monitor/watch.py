"""The tier monitor's round: look at every limit once a second, and tell what crossed a threshold (REQUIREMENTS C7)."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from penstock.bus.clock import loop_now_s
from penstock.contract import subjects
from penstock.contract.events import QuotaEased, QuotaWarned
from penstock.runtime.aio import CriticalLoop
from penstock.runtime.limit_advice import advice
from services.worker.execution.equipment import Equipment
from services.worker.quota_monitor.monitor import Notice

__all__ = ["TierWatch"]

_log: Final = logging.getLogger(__name__)
_EVERY_S: Final = 1.0


class TierWatch:
    def __init__(self, equipment: Equipment) -> None:
        self._equipment = equipment
        self._running = CriticalLoop("tier watch")
        self._warned: set[tuple[str, str, str]] = set()
        """What this worker, counting for itself, has warned of."""

    async def start(self) -> None:
        self._running.start(self._loop())

    async def stop(self) -> None:
        await self._running.stop()

    async def _loop(self) -> None:
        while True:
            now_s = loop_now_s()
            for notice in self._equipment.tiers.sample(now_s):
                self._tell(notice, now_s)
            await asyncio.sleep(_EVERY_S)

    def _tell(self, notice: Notice, now_s: float) -> None:
        """Of a shared limit one worker's word is stored, whoever comes first; of its own each worker speaks."""
        event = self._event(notice, now_s)
        if notice.record:
            subject = subjects.limit_event(notice.record, notice.use.name)
            self._equipment.announcer.announce_crossing(subject, event)
            return
        place = (notice.key.credential, notice.key.model, notice.use.name)
        if (notice.crossing == "warned") == (place in self._warned):
            return  # the calm before the first warning
        self._warned ^= {place}
        self._equipment.announcer.announce(event)

    def _event(self, notice: Notice, now_s: float) -> QuotaWarned | QuotaEased:
        equipment, key, use = self._equipment, notice.key, notice.use
        at_ms = equipment.clock.unix_ms()
        provider = equipment.catalogue.models[key.model].provider
        if notice.crossing == "eased":
            return QuotaEased(
                worker=equipment.instance,
                provider=provider,
                model=key.model,
                credential=key.credential,
                limit=use.name,
                used=use.used,
                allowed=use.limit,
                at_ms=at_ms,
            )
        status = equipment.tiers.status(key, use, now_s, at_ms)
        _log.warning("%s of %s: %d of %d are used", use.name, key.model, use.used, use.limit)
        return QuotaWarned(
            worker=equipment.instance,
            provider=provider,
            model=key.model,
            credential=key.credential,
            limit=use.name,
            used=use.used,
            allowed=use.limit,
            full_at_ms=status.full_at_ms,
            advice=advice(status),
            at_ms=at_ms,
        )
