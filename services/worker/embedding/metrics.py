"""The metrics of embed requests, and what is counted of each completed one."""

from __future__ import annotations

from functools import partial
from typing import Final

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Histogram

from penstock.runtime.pricing import PriceTable
from services.worker.embedding.request import WaitingRequest

__all__ = ["EmbeddingMetrics", "TextCounters"]

_BATCH_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)


class EmbeddingMetrics:
    """Labels are closed lists: roles, models, and where a vector came from."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        help_ = (
            "Texts of embed requests, by where their vectors came from: `embedded` by a provider, `memory`, `stored`, "
            "or `joined` with the same text of another request."
        )
        self.texts = counter("penstock_embedding_texts", help_, ["role", "source"])
        self.batch_size = Histogram(
            "penstock_embedding_batch_texts",
            "Texts of one provider call.",
            ["model"],
            buckets=_BATCH_SIZES,
            registry=registry,
        )
        help_ = "Provider calls that were refused for their content or size, and whose texts were sent again in parts."
        self.divided = counter("penstock_embedding_batches_divided", help_, ["model"])
        help_ = "What texts with known vectors would have cost, in picodollars, at the price of the model."
        self.saved = counter("penstock_embedding_saved_picousd", help_, ["role"])
        help_ = (
            "Reads of stored vectors that failed, vectors that are not stored because a write failed or too many "
            "waited, and pauses of 2 s in which vectors waited for a connection."
        )
        self.store_errors = counter("penstock_embedding_store_errors", help_)


class TextCounters(Struct, frozen=True):
    """Counts where the vectors of completed requests came from, and what that saved."""

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
