"""The metrics of guarded requests in a worker."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

__all__ = ["RequestGuardMetrics"]

_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class RequestGuardMetrics:
    """Labels are closed lists."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.verdict = Histogram(
            "penstock_worker_guard_verdict_seconds",
            "From a check to the verdict of a guard, or to the end of the time for it.",
            ["direction"],
            registry=registry,
            buckets=_SECONDS,
        )
        self.held_back = Histogram(
            "penstock_worker_guard_held_back_seconds",
            "How long the first output of an answer was held back for the verdict of the input.",
            registry=registry,
            buckets=_SECONDS,
        )
        self.blocked = Counter(
            "penstock_worker_guard_blocked",
            "Requests that the guard blocked, by direction.",
            ["direction"],
            registry=registry,
        )
        self.unchecked = Counter(
            "penstock_worker_guard_unchecked",
            "Checks without the verdict of a detector or of any guard, after which the content passed: false opens.",
            ["direction", "why"],
            registry=registry,
        )
        self.left_out = Counter(
            "penstock_worker_guard_left_out",
            "Passages and earlier turns that the model was not given because the policy blocks what is in them.",
            ["kind"],
            registry=registry,
        )
        self.redactions = Counter(
            "penstock_worker_guard_redactions",
            "Values replaced by placeholders.",
            ["direction"],
            registry=registry,
        )
