"""The end of a message that cannot be processed: a dead letter, and a `failed` event for the application."""

from __future__ import annotations

import logging
from typing import Final

from msgspec import Struct

from penstock.bus.clock import Clock
from penstock.contract import headers, subjects
from penstock.runtime.consumer.dead_letters import history_of, store_dead_letter
from penstock.runtime.consumer.delivery import Delivery, Unprocessable
from penstock.runtime.jobs.completion import end_unless_ended, failure_of
from penstock.runtime.redelivery.job_record import JobRecords
from penstock.runtime.service import Bus
from services.worker.budget.hold_releases import HoldReleases
from services.worker.metrics import WorkerMetrics

__all__ = ["DeadLetters"]

_log: Final = logging.getLogger(__name__)
_NO_ROLE: Final = "unknown"


class DeadLetters(Struct, frozen=True):
    """Ends messages that cannot be processed."""

    bus: Bus
    job_records: JobRecords
    metrics: WorkerMetrics
    clock: Clock
    releases: HoldReleases

    async def store(self, delivery: Delivery, dead: Unprocessable) -> None:
        """Store the dead letter, then end the request, if the message names a reply subject."""
        work = subjects.work_address(delivery.subject)
        role = _NO_ROLE if work is None else work.role
        address = subjects.reply_address(delivery.headers.get(headers.REPLY_SUBJECT, ""))
        events = [] if address is None else await self.job_records.events(address)
        await store_dead_letter(self.bus.js, role, delivery, dead, history_of(events))
        self.metrics.dead.labels(role).inc()
        if address is None:
            return
        failure, at_ms = failure_of(dead.code, dead.message), self.clock.unix_ms()
        # A job goes on where this message is a second copy of the one that is executed.
        ended = await end_unless_ended(
            self.bus, address, failure, at_ms, work_seq=delivery.sequence, events=events
        )
        if ended:
            trace = delivery.headers.get(headers.TRACEPARENT)
            await self.releases.release(address, dead.code, trace)
        self.metrics.requests.labels(role, dead.code).inc()
        fields = {"request": address.id, "role": role, "error": dead.code}
        _log.error("request dead-lettered", extra={"fields": fields})
