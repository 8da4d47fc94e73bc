"""Metrics of the router. Label values are closed lists: roles, codes, lanes."""

from __future__ import annotations

from functools import lru_cache, partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["RouterMetrics"]

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)

_MOST_CHILDREN = 4096
"""Of one metric, kept for the next request with the same values."""


class RouterMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        help_ = "Requests put into a mailbox."
        self.routed = counter("penstock_router_routed", help_, ["role", "complexity", "lane"])
        self.routed_of = lru_cache(_MOST_CHILDREN)(self.routed.labels)
        """The counter of a role, a complexity and a lane."""
        self.rejected = counter("penstock_router_rejected", "Requests rejected by the router.", ["code"])
        self.dead = counter("penstock_dead_letters", "Messages stored as dead letters.", ["role"])
        self.expired = counter("penstock_router_expired", "Requests ended by the sweep.", ["role", "code"])
        help_ = "Time from receiving a request event to storing its work."
        self.duration = Histogram(
            "penstock_router_duration_seconds", help_, buckets=_SECONDS, registry=registry
        )
        help_ = "Questions to the guard about the topic of a request that the rules do not recognise."
        self.classifications = counter("penstock_router_classifications", help_, ["answer"])
        help_ = (
            "Time from asking the guard for the topic of a request to its answer, or to the end of the wait."
        )
        self.classification_duration = Histogram(
            "penstock_router_classification_duration_seconds", help_, buckets=_SECONDS, registry=registry
        )
        help_ = "Requests for a hold at the budget ledger."
        self.holds = counter("penstock_router_holds", help_, ["outcome"])
        help_ = "Time from asking the budget ledger for a hold to its answer, waiting for room included."
        self.hold_duration = Histogram(
            "penstock_router_hold_duration_seconds", help_, buckets=_SECONDS, registry=registry
        )
        help_ = "Releases of holds that could not be stored; such a hold expires."
        self.lost_releases = counter("penstock_router_lost_releases", help_)
        help_ = "Share of the bytes of LLM_REPLIES that is used."
        self.replies_fill = Gauge("penstock_replies_fill", help_, registry=registry)
        help_ = (
            "Age of the oldest reply event in LLM_REPLIES: the retention that is reached while it is full."
        )
        self.replies_oldest = Gauge("penstock_replies_oldest_seconds", help_, registry=registry)
        help_ = "Share of the bytes of LLM_REPLIES that the account with the most has stored; 0 while there is room."
        self.replies_heaviest = Gauge("penstock_replies_heaviest_account", help_, registry=registry)
        help_ = "Times that this router deleted reply events before their time: of an account, or the oldest."
        self.replies_deleted = counter("penstock_replies_deleted", help_, ["why"])
        help_ = "Requests in a mailbox, running ones included."
        self.queued = Gauge("penstock_mailbox_messages", help_, ["role", "lane"], registry=registry)
