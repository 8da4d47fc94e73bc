"""Metrics of the encoder."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["EncoderMetrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class EncoderMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        help_ = "Requests for embeddings that have ended; 499: the client closed the connection."
        self.requests = Counter("penstock_encoder_requests", help_, ["status"], registry=registry)
        help_ = "Time from the head of a request for embeddings to the end of its answer."
        self.duration = Histogram(
            "penstock_encoder_duration_seconds", help_, buckets=_SECONDS, registry=registry
        )
        self.texts = Counter("penstock_encoder_texts", "Texts that were encoded.", registry=registry)
        help_ = "Characters of the texts that were encoded."
        self.characters = Counter("penstock_encoder_characters", help_, registry=registry)
        help_ = "Characters of the requests in progress."
        self.queued = Gauge("penstock_encoder_queued_characters", help_, registry=registry)
