"""Counts where the vectors of completed requests came from, and what that saved."""

from __future__ import annotations

from msgspec import Struct

from penstock.runtime.pricing import PriceTable
from services.worker.embedding.metrics import EmbeddingMetrics
from services.worker.embedding.request import WaitingRequest

__all__ = ["TextCounters"]


class TextCounters(Struct, frozen=True):
    metrics: EmbeddingMetrics
    prices: PriceTable

    def count(self, request: WaitingRequest, model: str) -> None:
        """The request is complete; `model`: whose price its texts would have cost."""
        counts, work = request.counts, request.execution.work
        joined = len(request.keys) - counts.embedded - counts.memory - counts.stored
        sources = {
            "embedded": counts.embedded,
            "memory": counts.memory,
            "stored": counts.stored,
            "joined": joined,
        }
        for source, number in sources.items():
            if number > 0:
                self.metrics.texts.labels(work.role, source).inc(number)
        prices = self.prices.prices_of(model)
        free = len(request.keys) - counts.embedded
        if prices is not None and free > 0:
            tokens = work.estimated_tokens * free / len(request.keys)
            self.metrics.saved.labels(work.role).inc(tokens * prices.input)
