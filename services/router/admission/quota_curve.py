"""How many requests one quota lets begin by when, from what a worker foresees of each of its limits."""

from __future__ import annotations

from bisect import bisect_right
from math import inf
from typing import Final

from msgspec import Struct

from penstock.contract.presence import QuotaForecast, Recovery

__all__ = ["UNLIMITED", "Supply", "amount", "supply_of"]

_WINDOWS: Final = 2
"""So many are followed step by step; beyond them a quota gives what it gives in the mean."""
_MOST: Final = 1 << 53
"""Of anything; a float is exact up to here."""


class Supply(Struct, frozen=True):
    """Never falls: `totals[i]` requests may have begun by `times_s[i]`, counted from when it was foreseen."""

    times_s: tuple[float, ...]
    totals: tuple[float, ...]
    per_s: float = 0.0
    """Beyond the last step."""

    def by(self, after_s: float) -> float:
        place = bisect_right(self.times_s, after_s) - 1
        if place < 0:
            return 0.0
        beyond_s = after_s - self.times_s[-1]
        return self.totals[place] + (self.per_s * beyond_s if beyond_s > 0 else 0.0)


UNLIMITED: Final = Supply((0.0,), (inf,))


def amount(number: int) -> int:
    """What a worker says of how much there is, in bounds in which one can reckon; whoever wrote it."""
    return max(0, min(_MOST, number))


def supply_of(forecast: QuotaForecast) -> Supply:
    """The least that its limits leave; of pauses and breakers it does not speak."""
    each = {"requests": 1.0, "tokens": float(amount(forecast.tokens_each))}
    limits = [
        _steps(recovery, each[kind])
        for recovery in forecast.recoveries
        if (kind := recovery.limit.partition("_")[0]) in each  # a newer worker may know more kinds
    ]
    limits = [limit for limit in limits if limit.totals[-1] < inf]
    if not limits:
        return UNLIMITED
    times_s = sorted({at_s for limit in limits for at_s in limit.times_s})
    totals = tuple(min(limit.by(at_s) for limit in limits) for at_s in times_s)
    return Supply(tuple(times_s), totals, min(limit.per_s for limit in limits))


def _steps(recovery: Recovery, each: float) -> Supply:
    """What was spent comes back as told; what is spent from now on comes back a window later."""
    if each <= 0 or recovery.window_ms <= 0:
        return UNLIMITED  # nobody knows what a request takes of it, or for how long
    window_s = amount(recovery.window_ms) / 1000
    allowed = amount(recovery.allowed)
    free = float(amount(recovery.free) - amount(-recovery.free))
    steps: list[tuple[float, float]] = [(0.0, max(0.0, free))]
    for after_ms, more in sorted(recovery.returns):
        free += amount(more)
        steps.append((amount(after_ms) / 1000, max(0.0, free)))
    first = [(at_s, total) for at_s, total in steps if at_s < window_s]
    again = [
        (at_s + window_s * turn, total + allowed * turn)
        for turn in range(1, _WINDOWS)
        for at_s, total in first
    ]
    last = (
        window_s * _WINDOWS,
        steps[-1][1] if not first else first[-1][1] + allowed * (_WINDOWS - 1),
    )
    whole = sorted([*steps, *again, last])
    totals: list[float] = []
    for _, total in whole:
        totals.append(max(total, totals[-1] if totals else 0.0))
    return Supply(
        tuple(at_s for at_s, _ in whole),
        tuple(total / each for total in totals),
        allowed / window_s / each,
    )
