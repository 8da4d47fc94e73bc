"""The end of a message that cannot be processed, counted."""

from __future__ import annotations

from msgspec import Struct

from penstock.contract.names import INDEX
from penstock.runtime.consumer.delivery import Delivery, Unprocessable
from penstock.runtime.redelivery.dead_request import DeadRequests
from services.indexer.metrics import IndexerMetrics

__all__ = ["DeadLetters"]


class DeadLetters(Struct, frozen=True):
    requests: DeadRequests
    metrics: IndexerMetrics

    async def store(self, delivery: Delivery, dead: Unprocessable) -> None:
        await self.requests.end(INDEX, delivery, dead)
        self.metrics.dead.inc()
        self.metrics.requests.labels(dead.code).inc()
