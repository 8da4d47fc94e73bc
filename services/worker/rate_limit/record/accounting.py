"""How much of a quota is free according to its record, and when more will be."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from penstock.contract.quota import Grain, QuotaCorrection, QuotaLease, QuotaRecord
from penstock.runtime.config.catalogue import Limits
from services.worker.rate_limit.batch_reserve import reserved
from services.worker.rate_limit.learned.rate import alive, burst, growth
from services.worker.rate_limit.limit import LimitName
from services.worker.rate_limit.record.bucket_levels import Bucket, BucketLevel
from services.worker.rate_limit.record.lease_settings import UNLIMITED, Amounts, LeaseSettings
from services.worker.rate_limit.record.window_grains import GrainedWindow, Kind, spent_of
from services.worker.rate_limit.token_bucket import ConstantRefill

__all__ = ["LimitGauge", "RecordAccounting", "earlier_waiters"]

_BUSY_LOOK_MS: Final = 250
"""Milliseconds after which to look again where other workers hold leases: they may return them at any time."""


class LimitGauge(Struct, frozen=True):
    """One limit over one window at one instant."""

    name: LimitName
    kind: Kind
    window: GrainedWindow
    grains: tuple[Grain, ...]
    ceiling: int
    """The limit in force: ours, or the provider's if that is lower."""
    withheld: int
    expires_ms: int | None
    """When the correction by a header expires; None: there is none."""
    leased: int
    """Leases of the workers that count."""
    reserved: int
    """What a batch request has to leave free."""
    spent: int
    bucket_level: BucketLevel | None = None
    """Level of a token bucket; None: the limit is a window."""

    @property
    def free(self) -> int:
        return self.ceiling - self.spent - self.withheld - self.leased

    def falls_to_at_ms(self, level: int, now_ms: int) -> int | None:
        """When no more than `level` is spent if nothing is added; None: never."""
        if self.bucket_level is not None:
            return self.bucket_level.falls_to_at_ms(level, now_ms)
        return self.window.falls_to_at_ms(self.grains, self.kind, level, now_ms)


class RecordAccounting:
    """Accounting of one key by its limits and windows: reads a record, changes nothing."""

    def __init__(
        self, limits: Limits, settings: LeaseSettings, batch_reserve: float = 0.0, *, is_learned: bool = False
    ) -> None:
        """`batch_reserve`: the share of each limit per minute, and of the slots, that a batch request leaves free.

        `is_learned`: no limit is configured; those that the record has learned count.
        """
        self.limits = limits
        self.settings = settings
        self.batch_reserve = batch_reserve
        self.is_learned = is_learned
        self.minute = GrainedWindow(settings.minute_ms + settings.margin_ms, settings.minute_grain_ms)
        self.day = GrainedWindow(settings.day_ms + settings.margin_ms, settings.day_grain_ms)
        requests, tokens = limits.requests_per_minute, limits.tokens_per_minute
        self.counts_requests = is_learned or requests is not None or limits.requests_per_day is not None
        self.counts_tokens = is_learned or tokens is not None or limits.tokens_per_day is not None
        self.counts_slots = limits.concurrency is not None
        self.largest_tokens = min(tokens or UNLIMITED, limits.tokens_per_day or UNLIMITED)
        self.has_buckets = is_learned or limits.kind == "token_bucket"

    def buckets(self, record: QuotaRecord, now_ms: int) -> dict[Kind, Bucket]:
        """The limits per minute that are token buckets, as they are in force."""
        if self.is_learned:
            return self._learned(record, now_ms)
        if not self.has_buckets:
            return {}
        corrections = {each.limit: each for each in record.corrections}
        limits = self.limits
        rows: tuple[tuple[LimitName, Kind, int | None], ...] = (
            ("requests_per_minute", "requests", limits.requests_per_minute),
            ("tokens_per_minute", "tokens", limits.tokens_per_minute),
        )
        return {
            kind: self._bucket(_in_force(most, corrections.get(name), now_ms)[0])
            for name, kind, most in rows
            if most is not None
        }

    def _bucket(self, capacity: int) -> Bucket:
        settings = self.settings
        return Bucket(
            capacity=capacity,
            refill=ConstantRefill(capacity / settings.minute_ms),
            grain_ms=settings.minute_grain_ms,
            margin_ms=settings.margin_ms,
        )

    def _learned(self, record: QuotaRecord, now_ms: int) -> dict[Kind, Bucket]:
        learned, settings = record.learned, self.settings
        if learned is None or not alive(learned, now_ms):
            return {}
        requests = Bucket(
            capacity=burst(learned),
            refill=growth(learned),
            grain_ms=settings.minute_grain_ms,
            margin_ms=settings.margin_ms,
            emptied_ms=learned.refused_ms,
        )
        if learned.tokens_per_minute is None:
            return {"requests": requests}
        return {"requests": requests, "tokens": self._bucket(learned.tokens_per_minute)}

    def gauges(self, record: QuotaRecord, now_ms: int, without: str = "") -> list[LimitGauge]:
        """Every limit except concurrency; `without`: the worker whose own lease does not count."""
        minute, day = self.minute.alive(record.minute, now_ms), self.day.alive(record.day, now_ms)
        others = [lease for lease in record.leases if lease.holder != without]
        requests = sum(lease.requests for lease in others)
        tokens = sum(lease.tokens for lease in others)
        corrections = {each.limit: each for each in record.corrections}
        buckets = self.buckets(record, now_ms)
        limits = self.limits
        if self.is_learned:
            most: dict[Kind, int | None] = {kind: bucket.capacity for kind, bucket in buckets.items()}
        else:
            most = {"requests": limits.requests_per_minute, "tokens": limits.tokens_per_minute}
        rows: tuple[tuple[LimitName, Kind, int | None, GrainedWindow, tuple[Grain, ...], int], ...] = (
            ("requests_per_minute", "requests", most.get("requests"), self.minute, minute, requests),
            ("tokens_per_minute", "tokens", most.get("tokens"), self.minute, minute, tokens),
            ("requests_per_day", "requests", limits.requests_per_day, self.day, day, requests),
            ("tokens_per_day", "tokens", limits.tokens_per_day, self.day, day, tokens),
        )
        found = []
        for name, kind, limit, window, grains, leased in rows:
            if limit is None:
                continue
            in_force = _in_force(limit, corrections.get(name), now_ms)
            reserve = reserved(in_force[0], self.batch_reserve) if window is self.minute else 0
            level = None
            if window is self.minute and kind in buckets:
                level = BucketLevel.at(buckets[kind], record.carried, record.minute, kind, now_ms)
            spent = spent_of(grains, kind) if level is None else level.spent
            found.append(LimitGauge(name, kind, window, grains, *in_force, leased, reserve, spent, level))
        return found

    def free(
        self, record: QuotaRecord, now_ms: int, without: str = "", *, leave_reserve: bool = False
    ) -> Amounts:
        """What is neither leased nor spent; below 0 when more was spent than estimated.

        `leave_reserve`: less what a batch request has to leave free.
        """
        left: dict[Kind, int] = {"requests": UNLIMITED, "tokens": UNLIMITED}
        gauges = self.gauges(record, now_ms, without)
        if self.is_learned and not gauges:
            left["requests"] = 0  # nothing is leased before the record holds a limit
        for gauge in gauges:
            left[gauge.kind] = min(left[gauge.kind], gauge.free - leave_reserve * gauge.reserved)
        slots, most = UNLIMITED, self.limits.concurrency
        if most is not None:
            taken = sum(lease.slots for lease in record.leases if lease.holder != without)
            slots = most - taken - leave_reserve * reserved(most, self.batch_reserve)
        return Amounts(left["requests"], left["tokens"], slots)

    def blocking_limit(
        self,
        record: QuotaRecord,
        need: Amounts,
        now_ms: int,
        without: str = "",
        *,
        leave_reserve: bool = False,
    ) -> tuple[int, LimitName] | None:
        """When to look again for `need`, and which limit blocks it; None: it is free now."""
        found: list[tuple[int, LimitName]] = []
        if self.free(record, now_ms, without, leave_reserve=leave_reserve).slots < need.slots:
            found.append((now_ms + _BUSY_LOOK_MS, "concurrency"))
        for gauge in self.gauges(record, now_ms, without):
            amount = need.requests if gauge.kind == "requests" else need.tokens
            amount += leave_reserve * gauge.reserved
            if gauge.free < amount:
                level = gauge.ceiling - gauge.withheld - gauge.leased - amount
                at_ms = gauge.falls_to_at_ms(level, now_ms)
                returned_ms = now_ms + _BUSY_LOOK_MS if gauge.free + gauge.leased >= amount else None
                candidates = [each for each in (at_ms, gauge.expires_ms, returned_ms) if each is not None]
                found.append((min(candidates, default=now_ms + _BUSY_LOOK_MS), gauge.name))
        return max(found, default=None)


def _in_force(most: int, correction: QuotaCorrection | None, now_ms: int) -> tuple[int, int, int | None]:
    """Ceiling, withheld amount, and when that changes: a correction lowers what is left until it expires."""
    if correction is None:
        return most, 0, None
    is_lower = correction.ceiling is not None and now_ms < correction.ceiling_until_ms
    ceiling = min(most, correction.ceiling) if is_lower and correction.ceiling is not None else most
    withholds = now_ms < correction.withheld_until_ms
    expiries = [
        at_ms
        for at_ms, counts in (
            (correction.ceiling_until_ms, ceiling < most),
            (correction.withheld_until_ms, withholds),
        )
        if counts
    ]
    return ceiling, correction.withheld if withholds else 0, min(expiries, default=None)


def earlier_waiters(record: QuotaRecord, holder: str, since_ms: int) -> tuple[QuotaLease, ...]:
    """Leases of the workers that have waited longer than `holder`."""
    return tuple(
        lease
        for lease in record.leases
        if lease.holder != holder and lease.waits_since_ms is not None and lease.waits_since_ms < since_ms
    )
