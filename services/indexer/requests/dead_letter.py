"""The end of a message that cannot be processed: a dead letter, and a `failed` event for the application."""

from __future__ import annotations

import logging
from typing import Final

from msgspec import Struct

from penstock.bus.clock import Clock
from penstock.contract import headers, subjects
from penstock.contract.names import INDEX
from penstock.runtime.consumer.dead_letters import history_of, store_dead_letter
from penstock.runtime.consumer.delivery import Delivery, Unprocessable
from penstock.runtime.jobs.completion import end_unless_ended, failure_of
from penstock.runtime.redelivery.job_record import JobRecords
from penstock.runtime.service import Bus
from services.indexer.metrics import IndexerMetrics

__all__ = ["DeadLetters"]

_log: Final = logging.getLogger(__name__)


class DeadLetters(Struct, frozen=True):
    bus: Bus
    job_records: JobRecords
    metrics: IndexerMetrics
    clock: Clock

    async def store(self, delivery: Delivery, dead: Unprocessable) -> None:
        """Store the dead letter, then end the request, if the message names a reply subject."""
        address = subjects.reply_address(delivery.headers.get(headers.REPLY_SUBJECT, ""))
        events = [] if address is None else await self.job_records.events(address)
        await store_dead_letter(self.bus.js, INDEX, delivery, dead, history_of(events))
        self.metrics.dead.inc()
        self.metrics.requests.labels(dead.code).inc()
        if address is None:
            return
        await end_unless_ended(
            self.bus,
            address,
            failure_of(dead.code, dead.message),
            self.clock.unix_ms(),
            work_seq=delivery.sequence,
            events=events,
        )
        _log.error(
            "request dead-lettered",
            extra={"fields": {"request": address.id, "role": INDEX, "error": dead.code}},
        )
