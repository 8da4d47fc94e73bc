"""The end of a message that cannot be processed, counted, and without the hold of its request."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from penstock.contract import headers, subjects
from penstock.runtime.consumer.delivery import Delivery, Unprocessable
from penstock.runtime.redelivery.dead_request import DeadRequests
from services.worker.budget.hold_releases import HoldReleases
from services.worker.metrics import WorkerMetrics

__all__ = ["DeadLetters"]

_NO_ROLE: Final = "unknown"


class DeadLetters(Struct, frozen=True):
    requests: DeadRequests
    metrics: WorkerMetrics
    releases: HoldReleases

    async def store(self, delivery: Delivery, dead: Unprocessable) -> None:
        work = subjects.work_address(delivery.subject)
        role = _NO_ROLE if work is None else work.role
        request = await self.requests.end(role, delivery, dead)
        self.metrics.dead.labels(role).inc()
        if request is None:
            return
        if request.ended:
            trace = delivery.headers.get(headers.TRACEPARENT)
            await self.releases.release(request.address, dead.code, trace)
        self.metrics.requests.labels(role, dead.code).inc()
