"""Metrics of the indexer. Label values are closed lists: error codes, modes of search, kinds of refusals."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.indexer.indexing.counts import Counts

__all__ = ["IndexerMetrics"]

_SEARCH_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_REQUEST_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3_600)


class IndexerMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        histogram = partial(Histogram, registry=registry)
        self.requests = counter("penstock_index_requests", "Index requests that ended.", ["outcome"])
        help_ = "Time from the start of an index request to its end."
        self.request_duration = histogram("penstock_index_duration_seconds", help_, buckets=_REQUEST_S)
        help_ = (
            "Documents of ended index requests: indexed (added or replaced), unchanged, deleted or refused."
        )
        self.documents = counter("penstock_index_documents", help_, ["outcome"])
        help_ = "Documents that were refused, by the kind of the reason."
        self.refused = counter("penstock_index_refused_documents", help_, ["why"])
        help_ = (
            "Chunks of ended index requests: embedded (by a provider), from_cache (their vectors were known), or "
            "deleted."
        )
        self.chunks = counter("penstock_index_chunks", help_, ["outcome"])
        self.queued = gauge("penstock_index_queued_requests", "Index requests that wait, by lane.", ["lane"])
        self.running = gauge("penstock_index_running_requests", "Index requests that are worked on.")
        self.dead = counter("penstock_index_dead_letters", "Index requests that became dead letters.")
        self.collections = gauge("penstock_index_collections", "Collections, the memory of users included.")
        help_ = "Searches, by mode and outcome: found, nothing_found (no passage above min_score), or an error code."
        self.searches = counter("penstock_searches", help_, ["mode", "outcome"])
        help_ = "Searches that words alone answered, because the embedding model was not available."
        self.without_vector = counter("penstock_searches_without_vector", help_)
        help_ = "Time from receiving a search to its answer."
        self.search_duration = histogram(
            "penstock_search_duration_seconds", help_, ["mode"], buckets=_SEARCH_S
        )
        help_ = "Passages in the answers of searches."
        self.passages = counter("penstock_search_passages", help_)
        help_ = (
            "Questions that were answered with an error at once: `malformed`, or `full`, where the account has no "
            "place among the questions that an indexer answers at a time."
        )
        self.dropped = counter("penstock_search_dropped", help_, ["why"])

    def count_end(self, code: str | None, counts: Counts, took_s: float) -> None:
        """One request ended; `code`: None for a completed one."""
        self.requests.labels(code or "completed").inc()
        self.request_duration.observe(took_s)
        self.documents.labels("indexed").inc(counts.indexed)
        self.documents.labels("unchanged").inc(counts.unchanged)
        self.documents.labels("deleted").inc(counts.deleted)
        self.documents.labels("refused").inc(len(counts.refused))
        self.chunks.labels("embedded").inc(counts.costs.embedded)
        self.chunks.labels("from_cache").inc(counts.from_cache)
        self.chunks.labels("deleted").inc(counts.chunks_deleted)
