"""When the n-th request in a line begins, behind quotas that give in lumps and slots that work at a pace."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from math import inf

from msgspec import Struct

from services.router.supply import Supply

__all__ = ["Flow", "Quota", "flow_of"]


class Flow(Struct, frozen=True):
    """`served[i]` requests have begun at `times_s[i]`; from there on, up to the next point, `pace_per_s` more each
    second. Times are on the router's monotonic clock.
    """

    times_s: tuple[float, ...]
    served: tuple[float, ...]
    pace_per_s: float
    tail_per_s: float
    """Behind the last point."""

    def begins_after(self, since_s: float) -> Callable[[float], float]:
        """`begins_s` as seconds after an instant; not before it."""
        return lambda position: max(0.0, self.begins_s(position) - since_s)

    def begins_s(self, position: float) -> float:
        """When the request at `position` begins, the first one being 1; infinite: never, as far as is known."""
        place = bisect_left(self.served, position) - 1
        if place < 0:
            return self.times_s[0]
        rest = position - self.served[place]
        per_s = self.tail_per_s if place == len(self.times_s) - 1 else self.pace_per_s
        return self.times_s[place] + rest / per_s if per_s > 0 else inf


class Quota(Struct, frozen=True):
    """What one quota gives, and from when on."""

    supply: Supply
    foreseen_s: float
    """When this was told."""
    ready_s: float
    """No call begins before."""


def flow_of(quotas: Iterable[Quota], calls_each: float, pace_per_s: float) -> Flow | None:
    """All quotas together, for requests of so many calls each; None: there are none, nothing is known.

    A request begins when a quota has something for it and the slots have come to it: the slots make up for no
    moment in which there was no quota, and the quota waits for slots.
    """
    known = tuple(quotas)
    if not known:
        return None
    steps = sorted(step for quota in known for step in _steps(quota, calls_each))
    end_s = max(max(quota.foreseen_s + quota.supply.times_s[-1], quota.ready_s) for quota in known)
    times_s, served, given = _walk(steps, end_s, pace_per_s)
    tail_per_s = sum(quota.supply.per_s for quota in known) / calls_each
    if given > served[-1]:  # what the slots have not come to yet
        tail_per_s = pace_per_s
    return Flow(times_s, served, pace_per_s, min(tail_per_s, pace_per_s))


def _steps(quota: Quota, calls_each: float) -> Iterator[tuple[float, float]]:
    before = 0.0
    for after_s, total in zip(quota.supply.times_s, quota.supply.totals, strict=True):
        if total > before:
            yield max(quota.ready_s, quota.foreseen_s + after_s), (total - before) / calls_each
            before = total
        if total == inf:
            return


def _walk(
    steps: list[tuple[float, float]], end_s: float, pace_per_s: float
) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    times_s: list[float] = []
    served: list[float] = []
    given = done = 0.0
    for place, (at_s, more) in enumerate(steps):
        given += more
        times_s.append(at_s)
        served.append(done)
        next_s = steps[place + 1][0] if place + 1 < len(steps) else end_s
        room = pace_per_s * (next_s - at_s) if next_s > at_s else 0.0
        done = min(given, done + room)
    times_s.append(max(end_s, times_s[-1]) if times_s else end_s)
    served.append(done)
    return tuple(times_s), tuple(served), given
