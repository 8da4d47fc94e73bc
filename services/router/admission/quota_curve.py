"""How many requests one quota lets start by when, from a worker's forecast of each of its limits."""

from __future__ import annotations

from bisect import bisect_right
from math import inf
from typing import Final

from msgspec import Struct

from penstock.contract.presence import QuotaForecast, Recovery

__all__ = ["UNLIMITED", "QuotaCurve", "bounded", "quota_curve_of"]

_WINDOWS: Final = 2
"""Windows of a limit that are modelled step by step; beyond them the mean rate applies."""
_LARGEST: Final = 1 << 53
"""Largest amount that is computed with; a float is exact up to here."""


class QuotaCurve(Struct, frozen=True):
    """Non-decreasing: `totals[i]` requests may have started by `times_s[i]`, in seconds after the forecast."""

    times_s: tuple[float, ...]
    totals: tuple[float, ...]
    per_s: float = 0.0
    """Rate beyond the last step."""

    def by(self, after_s: float) -> float:
        index = bisect_right(self.times_s, after_s) - 1
        if index < 0:
            return 0.0
        beyond_s = after_s - self.times_s[-1]
        return self.totals[index] + (self.per_s * beyond_s if beyond_s > 0 else 0.0)


UNLIMITED: Final = QuotaCurve((0.0,), (inf,))


def bounded(number: int) -> int:
    """`number` from a heartbeat, limited to the range in which arithmetic is exact."""
    return max(0, min(_LARGEST, number))


def quota_curve_of(forecast: QuotaForecast) -> QuotaCurve:
    """The minimum over the limits of one quota; pauses and breakers are not included."""
    cost = {"requests": 1.0, "tokens": float(bounded(forecast.tokens_per_call))}
    limits = [
        _limit_curve(recovery, cost[kind])
        for recovery in forecast.recoveries
        if (kind := recovery.limit.partition("_")[0]) in cost  # a newer worker may report other kinds
    ]
    limits = [limit for limit in limits if limit.totals[-1] < inf]
    if not limits:
        return UNLIMITED
    times_s = sorted({at_s for limit in limits for at_s in limit.times_s})
    totals = tuple(min(limit.by(at_s) for limit in limits) for at_s in times_s)
    return QuotaCurve(tuple(times_s), totals, min(limit.per_s for limit in limits))


def _limit_curve(recovery: Recovery, cost: float) -> QuotaCurve:
    """Spent amounts return as reported; amounts spent from now on return one window later.

    A request costs at most what the limit allows: it starts once the limit is full, whatever it will use.
    """
    if cost <= 0 or recovery.window_ms <= 0:
        return UNLIMITED  # the cost of a request, or the window, is not known
    window_s = bounded(recovery.window_ms) / 1000
    allowed = bounded(recovery.allowed)
    cost = min(cost, max(1.0, allowed))
    free = float(bounded(recovery.free) - bounded(-recovery.free))
    steps: list[tuple[float, float]] = [(0.0, max(0.0, free))]
    for after_ms, more in sorted(recovery.returns):
        free += bounded(more)
        steps.append((bounded(after_ms) / 1000, max(0.0, free)))
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
    return QuotaCurve(
        tuple(at_s for at_s, _ in whole),
        tuple(total / cost for total in totals),
        allowed / window_s / cost,
    )
