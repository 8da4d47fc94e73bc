"""How many more requests may start ahead of the admitted ones before one of those misses its deadline (C3).

A user with nothing in the mailbox overtakes users with much in it. Such a request is admitted only while every admitted
one still starts in time. Decision 0020 has the figures with and without this rule.
"""

from __future__ import annotations

from bisect import bisect_left
from math import ceil, inf

from penstock.contract.names import RANKS

__all__ = ["DeadlineSlack"]


class DeadlineSlack:
    """Headroom of each group of roles that share quotas. No I/O; all instants are the router's monotonic seconds."""

    def __init__(self) -> None:
        self._frontiers_by_sharers: dict[tuple[str, ...], tuple[_Frontier, ...]] = {}

    def record_admission(
        self, sharers: tuple[str, ...], rank: int, headroom: float, latest_start_s: float
    ) -> None:
        """Add an admitted request that tolerates `headroom` more requests ahead of it until `latest_start_s`."""
        if headroom < inf:
            self._of(sharers)[rank].add(headroom, latest_start_s)

    def record_arrival(self, sharers: tuple[str, ...], rank: int, count: int) -> None:
        """Count `count` requests that start ahead of every request of a higher rank number."""
        for frontier in self._of(sharers)[rank + 1 :]:
            frontier.passed += count

    def record_overtaking(self, sharers: tuple[str, ...], count: int) -> None:
        """Count `count` requests that may also start ahead of rank 0 of the other roles."""
        self._of(sharers)[0].passed += count

    def headroom(self, sharers: tuple[str, ...], now_s: float) -> float:
        """How many more requests may start ahead of all admitted ones; infinite when none can miss its deadline."""
        return min(frontier.headroom(now_s) for frontier in self._of(sharers))

    def _of(self, sharers: tuple[str, ...]) -> tuple[_Frontier, ...]:
        frontiers = self._frontiers_by_sharers.get(sharers)
        if frontiers is None:
            frontiers = self._frontiers_by_sharers[sharers] = tuple(_Frontier() for _ in RANKS)
        return frontiers


class _Frontier:
    """The requests of one rank that have less headroom than every later one: both lists rise."""

    def __init__(self) -> None:
        self.passed = 0
        """Requests that started ahead, since the process started."""
        self._untils: list[int] = []
        self._limits: list[float] = []
        """Values of `passed` that must not be exceeded."""

    def add(self, headroom: float, latest_start_s: float) -> None:
        """Instants are rounded up to whole seconds, which bounds the length of the lists. A limit then applies up
        to a second longer than necessary.
        """
        until, limit = ceil(latest_start_s), self.passed + headroom
        index = bisect_left(self._untils, until)
        if index < len(self._limits) and self._limits[index] <= limit:
            return
        first = bisect_left(self._limits, limit, 0, index)
        last = index + (index < len(self._untils) and self._untils[index] == until)
        self._untils[first:last] = [until]
        self._limits[first:last] = [limit]

    def headroom(self, now_s: float) -> float:
        expired = bisect_left(self._untils, now_s)
        del self._untils[:expired], self._limits[:expired]
        return self._limits[0] - self.passed if self._limits else inf
