"""What a worker knows of a shared record: how much is free, when more will be, and what a header changes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from penstock.contract.presence import Recovery
from penstock.contract.quota import QuotaCorrection, QuotaRecord
from services.worker.rate_limit.limit import MINUTE_S, LimitName, Observation
from services.worker.rate_limit.limit_set import LimitUse
from services.worker.rate_limit.quota_forecast import recovery
from services.worker.rate_limit.record.accounting import LimitGauge, RecordAccounting, earlier_waiters
from services.worker.rate_limit.record.allocation import lease_of
from services.worker.rate_limit.record.lease_settings import LEASE_RETURNED_S, Amounts
from services.worker.rate_limit.record.provider_corrections import SeenCeilings, corrected
from services.worker.rate_limit.record.record_clock import RecordClock
from services.worker.rate_limit.token_bucket import refill_returns

__all__ = ["RecordView"]

_EMPTY: Final = QuotaRecord(at_ms=0)
_REFILLED_MS: Final = 10
"""Milliseconds for which sums over a token bucket are kept: a moment later more is free, never less."""
_NONE: Final[Mapping[str, QuotaCorrection]] = MappingProxyType({})


class RecordView:
    """The latest record, and sums over it that are kept until they may change."""

    def __init__(self, holder: str, accounting: RecordAccounting, clock: RecordClock) -> None:
        self.record: QuotaRecord | None = None
        self._holder = holder
        self._accounting = accounting
        self._clock = clock
        self._ceilings = SeenCeilings()
        self._summed: QuotaRecord | None = None
        self._summed_until_ms = 0
        self._free = self._free_beside_reserve = Amounts()
        self._left: dict[LimitName, tuple[int, int]] = {}
        """What is left of each limit by our own count, withheld amounts included, and the ceiling it counts from."""
        self._claims = Amounts()

    def wait_s(
        self, need: Amounts, now_s: float, *, leave_reserve: bool = False
    ) -> tuple[float, LimitName] | None:
        """Seconds until `need` may be free, and the limit that blocks it; None: it is free now, as far as is known.

        `leave_reserve`: free beside what a batch request has to leave.
        """
        now_ms = self._clock.now_ms(now_s)
        self._sum(now_ms)
        free, claims = self._free_beside_reserve if leave_reserve else self._free, self._claims
        need += claims
        if free.covers(need):
            return None
        found = self._accounting.blocking_limit(
            self.record or _EMPTY, need, now_ms, self._holder, leave_reserve=leave_reserve
        )
        return None if found is None else (max(0.0, self._clock.local_s(found[0]) - now_s), found[1])

    @property
    def others_wait(self) -> bool:
        if self.record is not None:
            for lease in self.record.leases:  # each settled request asks: a generator costs more
                if lease.waits_since_ms is not None and lease.holder != self._holder:
                    return True
        return False

    def usage(self, now_s: float) -> tuple[LimitUse, ...]:
        """Use of each limit: spent, leased and withheld amounts together, and the leased part alone."""
        record = self.record or _EMPTY
        gauges = self._accounting.gauges(record, self._clock.now_ms(now_s))
        uses = [
            LimitUse(
                gauge.name, gauge.spent + gauge.leased + gauge.withheld, gauge.ceiling, leased=gauge.leased
            )
            for gauge in gauges
        ]
        if self._accounting.limits.concurrency is not None:
            slots = sum(lease.slots for lease in record.leases)
            uses.append(LimitUse("concurrency", slots, self._accounting.limits.concurrency))
        return tuple(uses)

    def recoveries(self, unreported: Amounts, now_s: float) -> tuple[Recovery, ...]:
        """When how much of each limit is free again. Leases of other workers are spent or returned soon;
        our own lease counts as free, except what was spent of it and is `unreported`.
        """
        now_ms = self._clock.now_ms(now_s)
        gauges = self._accounting.gauges(self.record or _EMPTY, now_ms, without=self._holder)
        return tuple(
            _recovery(gauge, unreported.requests if gauge.kind == "requests" else unreported.tokens, now_ms)
            for gauge in gauges
        )

    def correction(
        self, header: Observation, now_s: float, unreported: Mapping[str, QuotaCorrection] = _NONE
    ) -> QuotaCorrection | None:
        """The correction that a header makes; None: no change. `unreported`: earlier corrections not written yet.

        Leases count as used: the provider has seen some of their requests, and some it has not.
        """
        name = header.limit_name
        now_ms = self._clock.now_ms(now_s)
        self._sum(now_ms)
        if name not in self._left:
            return None
        left, ceiling = self._left[name]
        self._ceilings.observe(header, now_ms)
        stored = next((each for each in (self.record or _EMPTY).corrections if each.limit == name), None)
        known = unreported.get(name, stored)
        configured: int = getattr(self._accounting.limits, name)
        lowered = header.limit is not None and 0 < header.limit < configured
        if known is None and not lowered and (header.remaining is None or header.remaining >= left):
            return None
        if header.limit is not None and header.limit > 0:
            left += min(header.limit, configured) - ceiling  # `remaining` counts from the provider's limit
        known = known or QuotaCorrection(limit=name)
        found = corrected(known, header, left, now_ms)
        return None if found == known else found

    def superseded(self, now_s: float) -> tuple[QuotaCorrection, ...]:
        """Our newer corrections where the record holds an older one of another worker."""
        if self.record is None or not self.record.corrections:
            return ()
        return tuple(self._ceilings.superseded_in(self.record, self._clock.now_ms(now_s)))

    def _sum(self, now_ms: int) -> None:
        record = self.record or _EMPTY
        if record is self._summed and now_ms < self._summed_until_ms:
            return
        accounting = self._accounting
        self._summed = record
        minute, day = accounting.minute.alive(record.minute, now_ms), accounting.day.alive(record.day, now_ms)
        expiries = [
            at_ms
            for correction in record.corrections
            for at_ms in (correction.ceiling_until_ms, correction.withheld_until_ms)
            if at_ms > now_ms
        ]
        ends = [accounting.minute.ends_ms(minute[0][0])] if minute else []
        ends += [accounting.day.ends_ms(day[0][0])] if day else []
        self._summed_until_ms = min((*ends, *expiries, 1 << 62))
        if accounting.has_buckets:
            self._summed_until_ms = min(self._summed_until_ms, now_ms + _REFILLED_MS)
        self._free = accounting.free(record, now_ms, without=self._holder)
        self._free_beside_reserve = accounting.free(record, now_ms, without=self._holder, leave_reserve=True)
        self._left = {
            gauge.name: (gauge.free + gauge.withheld, gauge.ceiling)
            for gauge in accounting.gauges(record, now_ms)
        }
        mine = lease_of(record, self._holder)
        earlier = earlier_waiters(record, self._holder, mine.waits_since_ms or 1 << 62)
        tokens = sum(lease.waits_for_tokens for lease in earlier)
        self._claims = Amounts(len(earlier), tokens, len(earlier))


def _recovery(gauge: LimitGauge, unreported: int, now_ms: int) -> Recovery:
    column = 1 if gauge.kind == "requests" else 2
    length_s, allowed = gauge.window.length_ms / 1000, gauge.ceiling
    if gauge.bucket_level is not None:
        per_s = gauge.bucket_level.per_s(now_ms)
        returns = list(refill_returns(gauge.bucket_level.level + unreported, per_s, MINUTE_S))
        length_s, allowed = MINUTE_S, round(per_s * MINUTE_S)
    else:
        first_ms, grain_ms = gauge.window.ends_ms(0) - now_ms, gauge.window.grain_ms
        returns = [((first_ms + grain[0] * grain_ms) / 1000, grain[column]) for grain in gauge.grains]
        returns.append((length_s, unreported))
    returns.append((LEASE_RETURNED_S, gauge.leased))
    if gauge.expires_ms is not None:
        returns.append(((gauge.expires_ms - now_ms) / 1000, gauge.withheld))
    used = allowed - gauge.free + unreported
    return recovery(gauge.name, length_s, allowed, used, returns)
