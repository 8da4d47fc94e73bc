"""Metrics of the guard. Label values are closed lists: directions, actions, categories, kinds, detectors, outcomes."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from penstock.contract.guard.policies import DETECTORS

__all__ = ["GuardMetrics"]

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class GuardMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        histogram = partial(Histogram, registry=registry)
        help_ = "Checks answered, by direction and by the strongest action of all findings."
        self.checks = counter("penstock_guard_checks", help_, ["direction", "action"])
        help_ = "Checks whose verdict refuses, because a detector that fails closed did not check the texts."
        self.refused = counter("penstock_guard_refused_checks", help_)
        help_ = (
            "Findings in verdicts, by category, kind and action; kind is empty for categories without kinds."
        )
        self.findings = counter("penstock_guard_findings", help_, ["category", "kind", "action"])
        help_ = "Time from receiving a check to its verdict."
        self.duration = histogram("penstock_guard_check_duration_seconds", help_, buckets=_SECONDS)
        help_ = "Time that a detector took for the texts of one check, also when it failed."
        self.detector_duration = histogram(
            "penstock_guard_detector_duration_seconds", help_, ["detector"], buckets=_SECONDS
        )
        help_ = (
            "Checks that a detector could not do: timeout, no quota, breaker open, not enabled, queue full, "
            "too much text, or error."
        )
        self.failures = counter("penstock_guard_detector_failures", help_, ["detector", "why"])
        self.in_flight = gauge("penstock_guard_checks_in_flight", "Checks that are being answered.")
        help_ = "Bytes of the checks that are being answered."
        self.bytes_in_flight = gauge("penstock_guard_checks_in_flight_bytes", help_)
        help_ = "Checks without an answer: malformed, or full (their senders repeat them)."
        self.dropped = counter("penstock_guard_dropped_checks", help_, ["why"])
        help_ = (
            "Texts of the router, by topic, and those without an answer: malformed, full (too many), or late."
        )
        self.classified = counter("penstock_guard_classified", help_, ["outcome"])
        self.events_lost = counter("penstock_guard_lost_events", "Verdicts whose event could not be stored.")
        for detector in DETECTORS:
            self.detector_duration.labels(detector)
