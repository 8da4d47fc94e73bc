"""The metrics of retrieval in a worker."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

__all__ = ["RetrievalMetrics"]

_SECONDS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_PASSAGES: Final = (0, 1, 2, 3, 5, 10, 20, 50, 100)


class RetrievalMetrics:
    """Labels are closed lists: `kind` is passages, whole or memory."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.retrievals = Counter(
            "penstock_worker_retrievals",
            "Searches for chat requests, by outcome: found, nothing_found, or an error code.",
            ["kind", "outcome"],
            registry=registry,
        )
        self.seconds = Histogram(
            "penstock_worker_retrieval_seconds",
            "From a search to its answer, or to the end of the time for it.",
            ["kind"],
            registry=registry,
            buckets=_SECONDS,
        )
        self.passages = Histogram(
            "penstock_worker_retrieval_passages",
            "Passages that were put before the model.",
            ["kind"],
            registry=registry,
            buckets=_PASSAGES,
        )
        self.tokens = Counter(
            "penstock_worker_retrieval_tokens",
            "Estimated tokens of passages that were put before the model.",
            ["kind"],
            registry=registry,
        )
        self.cached_tokens = Counter(
            "penstock_worker_retrieval_cached_tokens",
            "Input tokens that providers read from their caches, of answered requests with passages.",
            ["kind"],
            registry=registry,
        )
        self.remembered = Counter(
            "penstock_worker_remembered_turns",
            "Turns of conversations sent to the indexer, by outcome: sent or failed.",
            ["outcome"],
            registry=registry,
        )
