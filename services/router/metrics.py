"""What the router counts. Labels are closed lists: roles, codes, outcomes."""

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
            "penstock_router_refused", "Requests refused at the door.", ["code"], registry=registry
        )
        self.dead = Counter("penstock_dead_letters", "Messages buried.", ["role"], registry=registry)
        self.expired = Counter(
            "penstock_router_expired",
            "Requests whose end the sweep announced.",
            ["role", "code"],
            registry=registry,
        )
        self.duration = Histogram(
            "penstock_router_duration_seconds",
            "From the pull of a request event to its place in a mailbox.",
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5),
            registry=registry,
        )
        self.queued = Gauge(
            "penstock_mailbox_messages",
            "Requests in a mailbox, those being worked on included.",
            ["role", "lane"],
            registry=registry,
        )
