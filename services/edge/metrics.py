"""Metrics of the edge. Label values are closed lists: routes, HTTP statuses, reasons."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["EdgeMetrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class EdgeMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        histogram = partial(Histogram, buckets=_SECONDS, registry=registry)
        help_ = "HTTP requests that have ended; 499: the client closed the connection."
        self.requests = counter("penstock_edge_requests", help_, ["route", "status"])
        help_ = "Time from the head of a request to the end of its response."
        self.duration = histogram("penstock_edge_duration_seconds", help_, ["route"])
        self.open = Gauge(
            "penstock_edge_open_requests", "HTTP requests in progress.", ["route"], registry=registry
        )
        help_ = "Time from the head of a request to the status of a streamed answer."
        self.first_byte = histogram("penstock_edge_first_byte_seconds", help_, ["route"])
        help_ = "Streamed answers that ended with an error after their status was sent."
        self.broken_streams = counter("penstock_edge_broken_streams", help_, ["route"])
        help_ = "Requests that were not let in because of their API key."
        self.rejected_keys = counter("penstock_edge_rejected_keys", help_, ["reason"])
