"""Metrics of the router. Label values are closed lists: roles, codes, lanes."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["RouterMetrics"]


class RouterMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.routed = Counter(
            "penstock_router_routed",
            "Requests put into a mailbox.",
            ["role", "complexity", "lane"],
            registry=registry,
        )
        self.refused = Counter(
            "penstock_router_refused", "Requests rejected by the router.", ["code"], registry=registry
        )
        self.dead = Counter(
            "penstock_dead_letters", "Messages stored as dead letters.", ["role"], registry=registry
        )
        self.expired = Counter(
            "penstock_router_expired",
            "Requests ended by the sweep.",
            ["role", "code"],
            registry=registry,
        )
        self.duration = Histogram(
            "penstock_router_duration_seconds",
            "Time from receiving a request event to storing its work.",
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5),
            registry=registry,
        )
        self.queued = Gauge(
            "penstock_mailbox_messages",
            "Requests in a mailbox, running ones included.",
            ["role", "lane"],
            registry=registry,
        )
