"""When the n-th queued request starts, given quotas that recover in steps and slots that work at a steady rate."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import Final

from msgspec import Struct

from services.router.admission.quota_curve import QuotaCurve

__all__ = ["PacedCurve", "ServiceCurve", "TimedQuota", "service_curve_of"]

_ROUNDING: Final = 1e-9
"""Part of a request by which a sum of fractions may be too small."""


class TimedQuota(Struct, frozen=True):
    """The curve of one quota, placed on the router's clock."""

    curve: QuotaCurve
    reported_s: float
    """When the worker reported it."""
    ready_s: float
    """No call starts before: a pause or a breaker ends here."""


class PacedCurve(Struct, frozen=True):
    """At `times_s[i]` the total was `totals[i]`; from there to the next point it rises by `rate_per_s`."""

    times_s: tuple[float, ...]
    totals: tuple[float, ...]
    rate_per_s: float
    tail_per_s: float
    """Rate beyond the last point."""

    def reaches_s(self, total: float) -> float:
        """When the curve reaches `total`; infinite if never."""
        index = bisect_left(self.totals, total) - 1
        if index < 0:
            return self.times_s[0]
        rest = total - self.totals[index]
        per_s = self.tail_per_s if index == len(self.times_s) - 1 else self.rate_per_s
        return self.times_s[index] + rest / per_s if per_s > 0 else inf

    def by(self, at_s: float) -> float:
        """The largest total reached by `at_s`: the inverse of `reaches_s`."""
        index = bisect_right(self.times_s, at_s) - 1
        if index < 0:
            return 0.0
        elapsed_s = at_s - self.times_s[index]
        if index == len(self.times_s) - 1:
            return self.totals[index] + (self.tail_per_s * elapsed_s if elapsed_s > 0 else 0.0)
        risen = self.rate_per_s * elapsed_s if elapsed_s > 0 or self.rate_per_s < inf else inf
        return min(self.totals[index + 1], self.totals[index] + risen)


class ServiceCurve(Struct, frozen=True):
    """Starts of requests over time, on the router's monotonic clock."""

    granted: PacedCurve
    """Requests for which quota is available."""
    ended: PacedCurve
    """Requests that the slots have finished, never ahead of their quota."""
    free_slots: float
    """Requests that can start at once."""

    def start_time_s(self, position: float) -> float:
        """When the request at `position` starts, the first one being 1; infinite if never.

        It needs a free slot, and quota.
        """
        behind = position - self.free_slots
        granted_s = self.granted.reaches_s(position)
        return granted_s if behind <= 0 else max(granted_s, self.ended.reaches_s(behind))

    def started_by(self, at_s: float) -> float:
        """The last position that starts by `at_s`."""
        return min(self.granted.by(at_s), self.free_slots + self.ended.by(at_s))

    def delay_from(self, since_s: float) -> Callable[[float], float]:
        """`start_time_s` as seconds after `since_s`, never negative."""
        return lambda position: max(0.0, self.start_time_s(position) - since_s)


def service_curve_of(
    quotas: Iterable[TimedQuota], attempts_per_request: float, free_slots: float, rate_per_s: float
) -> ServiceCurve | None:
    """Combine all quotas, for requests of `attempts_per_request` calls; None without quotas, when nothing is known.

    A request starts with quota for its first call, after all calls of the requests ahead of it.
    """
    known = tuple(quotas)
    if not known:
        return None
    steps = sorted(step for quota in known for step in _steps(quota, attempts_per_request))
    end_s = max(max(quota.reported_s + quota.curve.times_s[-1], quota.ready_s) for quota in known)
    tail_per_s = sum(quota.curve.per_s for quota in known) / attempts_per_request
    return ServiceCurve(
        granted=_paced(steps, end_s, inf, tail_per_s, first=1 - 1 / attempts_per_request + _ROUNDING),
        ended=_paced(steps, end_s, rate_per_s, tail_per_s),
        free_slots=free_slots,
    )


def _steps(quota: TimedQuota, attempts_per_request: float) -> Iterator[tuple[float, float]]:
    before = 0.0
    for after_s, total in zip(quota.curve.times_s, quota.curve.totals, strict=True):
        if total > before:
            yield max(quota.ready_s, quota.reported_s + after_s), (total - before) / attempts_per_request
            before = total
        if total == inf:
            return


def _paced(
    steps: list[tuple[float, float]],
    end_s: float,
    rate_per_s: float,
    tail_per_s: float,
    first: float = 0.0,
) -> PacedCurve:
    """The cumulative sum of `first` and `steps`, rising by at most `rate_per_s`."""
    times_s: list[float] = []
    totals: list[float] = []
    granted = done = first
    for index, (at_s, more) in enumerate(steps):
        granted += more
        times_s.append(at_s)
        totals.append(done)
        next_s = steps[index + 1][0] if index + 1 < len(steps) else end_s
        done = granted if rate_per_s == inf else min(granted, done + rate_per_s * (next_s - at_s))
    times_s.append(end_s)
    totals.append(done)
    saturated = granted > done  # the slots are still behind the quota
    tail_per_s = rate_per_s if saturated else min(tail_per_s, rate_per_s)
    return PacedCurve(tuple(times_s), tuple(totals), rate_per_s, tail_per_s)
