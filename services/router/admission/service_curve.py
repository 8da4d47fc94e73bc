"""When the n-th request in a line begins, behind quotas that give in lumps and slots that work at a pace."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from math import inf

from msgspec import Struct

from services.router.admission.quota_curve import Supply

__all__ = ["Curve", "Flow", "Quota", "flow_of"]


class Quota(Struct, frozen=True):
    """What one quota gives, and from when on."""

    supply: Supply
    foreseen_s: float
    """When this was told."""
    ready_s: float
    """No call begins before."""


class Curve(Struct, frozen=True):
    """By `times_s[i]` it was `totals[i]`; from there on, up to the next point, it rises by `pace_per_s`."""

    times_s: tuple[float, ...]
    totals: tuple[float, ...]
    pace_per_s: float
    tail_per_s: float
    """Behind the last point."""

    def reaches_s(self, total: float) -> float:
        """Infinite: never, as far as is known."""
        place = bisect_left(self.totals, total) - 1
        if place < 0:
            return self.times_s[0]
        rest = total - self.totals[place]
        per_s = self.tail_per_s if place == len(self.times_s) - 1 else self.pace_per_s
        return self.times_s[place] + rest / per_s if per_s > 0 else inf

    def by(self, at_s: float) -> float:
        """The other way round: the most that it has reached by then."""
        place = bisect_right(self.times_s, at_s) - 1
        if place < 0:
            return 0.0
        elapsed_s = at_s - self.times_s[place]
        if place == len(self.times_s) - 1:
            return self.totals[place] + (self.tail_per_s * elapsed_s if elapsed_s > 0 else 0.0)
        risen = self.pace_per_s * elapsed_s if elapsed_s > 0 or self.pace_per_s < inf else inf
        return min(self.totals[place + 1], self.totals[place] + risen)


class Flow(Struct, frozen=True):
    """Times are on the router's monotonic clock."""

    given: Curve
    """Requests for which there is quota."""
    ended: Curve
    """Requests that the slots have come to the end of, no sooner than there was quota for them."""
    free_slots: float
    """So many begin beside each other."""

    def begins_s(self, position: float) -> float:
        """When the request at `position` begins, the first one being 1; infinite: never, as far as is known.

        A slot must be free for it, and a quota must have something for it.
        """
        behind = position - self.free_slots
        given_s = self.given.reaches_s(position)
        return given_s if behind <= 0 else max(given_s, self.ended.reaches_s(behind))

    def begun_by(self, at_s: float) -> float:
        """The last position that begins by then."""
        return min(self.given.by(at_s), self.free_slots + self.ended.by(at_s))

    def begins_after(self, since_s: float) -> Callable[[float], float]:
        """`begins_s` as seconds after an instant; not before it."""
        return lambda position: max(0.0, self.begins_s(position) - since_s)


def flow_of(quotas: Iterable[Quota], calls_each: float, free_slots: float, pace_per_s: float) -> Flow | None:
    """All quotas together, for requests of so many calls each; None: there are none, nothing is known."""
    known = tuple(quotas)
    if not known:
        return None
    steps = sorted(step for quota in known for step in _steps(quota, calls_each))
    end_s = max(max(quota.foreseen_s + quota.supply.times_s[-1], quota.ready_s) for quota in known)
    tail_per_s = sum(quota.supply.per_s for quota in known) / calls_each
    return Flow(
        given=_curve(steps, end_s, inf, tail_per_s),
        ended=_curve(steps, end_s, pace_per_s, tail_per_s),
        free_slots=free_slots,
    )


def _steps(quota: Quota, calls_each: float) -> Iterator[tuple[float, float]]:
    before = 0.0
    for after_s, total in zip(quota.supply.times_s, quota.supply.totals, strict=True):
        if total > before:
            yield max(quota.ready_s, quota.foreseen_s + after_s), (total - before) / calls_each
            before = total
        if total == inf:
            return


def _curve(steps: list[tuple[float, float]], end_s: float, pace_per_s: float, tail_per_s: float) -> Curve:
    """What the steps give, at no more than the pace."""
    times_s: list[float] = []
    totals: list[float] = []
    given = done = 0.0
    for place, (at_s, more) in enumerate(steps):
        given += more
        times_s.append(at_s)
        totals.append(done)
        next_s = steps[place + 1][0] if place + 1 < len(steps) else end_s
        done = given if pace_per_s == inf else min(given, done + pace_per_s * (next_s - at_s))
    times_s.append(end_s)
    totals.append(done)
    behind = given > done  # the slots have not come to all of it yet
    return Curve(
        tuple(times_s), tuple(totals), pace_per_s, pace_per_s if behind else min(tail_per_s, pace_per_s)
    )
