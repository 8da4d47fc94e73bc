"""Metrics of the ledger. Label values are closed lists: partitions, outcomes and error codes."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["LedgerMetrics"]

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class LedgerMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        histogram = partial(Histogram, registry=registry)
        help_ = "Holds answered, by outcome: granted, or the error code of the refusal."
        self.holds = counter("penstock_ledger_holds", help_, ["outcome"])
        self.waited = counter("penstock_ledger_holds_waited", "Holds that waited for a release.")
        help_ = "Holds that wait for a release now."
        self.waiting = gauge("penstock_ledger_holds_waiting", help_, ["partition"])
        help_ = "Time from receiving a request for a hold to its answer, waiting included."
        self.duration = histogram("penstock_ledger_hold_duration_seconds", help_, buckets=_SECONDS)
        help_ = "Entries stored together in the journal."
        self.group_size = histogram("penstock_ledger_group_entries", help_, buckets=_SIZES)
        help_ = "Money spent, in micro-dollars, without what is left of the last one."
        self.spent = counter("penstock_ledger_spent_microusd", help_)
        help_ = "Money that was spent above the holds of requests, or without a hold, in micro-dollars."
        self.overshoot = counter("penstock_ledger_overshoot_microusd", help_)
        self.open_holds = gauge("penstock_ledger_open_holds", "Holds that are open.", ["partition"])
        help_ = "Money held for open requests, in micro-dollars."
        self.held = gauge("penstock_ledger_held_microusd", help_, ["partition"])
        help_ = "1 for each partition that this process owns, 0 for the others."
        self.owned = gauge("penstock_ledger_partition_owned", help_, ["partition"])
        help_ = "Usage events that are stored and not booked yet."
        self.lag = gauge("penstock_ledger_settlement_lag_events", help_, ["partition"])
        help_ = "Unix time of the last snapshot of a partition that this process stored."
        self.snapshot = gauge("penstock_ledger_snapshot_timestamp_seconds", help_, ["partition"])
        help_ = "Entries in the journal since the last snapshot."
        self.unsaved = gauge("penstock_ledger_entries_since_snapshot", help_, ["partition"])
        help_ = "Writes that were rejected because another process owns the partition."
        self.fenced = counter("penstock_ledger_fenced_writes", help_)
        help_ = "Writes to the journal that could not be stored."
        self.not_stored = counter("penstock_ledger_failed_writes", help_)
        help_ = "Usage events that were skipped because they are not valid."
        self.invalid_usage = counter("penstock_ledger_invalid_usage", help_)
        help_ = "Messages of the journal that were skipped because no ledger wrote them."
        self.invalid_journal = counter("penstock_ledger_invalid_journal", help_)
        self.alerts = counter("penstock_ledger_alerts", "Budget alerts published.", ["percent"])
