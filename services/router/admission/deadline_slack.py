"""How many more may go before those that were let in, and still all of them come in time (C3).

Whoever has nothing in a mailbox overtakes those who have much, whatever they were promised. Here it is kept how many
each of them can bear, so that nobody is let in who would make one of them late.
"""

from __future__ import annotations

from bisect import bisect_left
from math import ceil, inf

from penstock.contract.names import RANKS

__all__ = ["Slack"]


class Slack:
    """No I/O; all instants are the router's monotonic seconds. Each crowd of roles has an account of its own."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, ...], tuple[_Edge, ...]] = {}

    def promised(self, crowd: tuple[str, ...], rank: int, bears: float, until_s: float) -> None:
        """One was let in that bears so many more before it, and must begin before that instant."""
        if bears < inf:
            self._of(crowd)[rank].add(bears, until_s)

    def came(self, crowd: tuple[str, ...], rank: int, number: int) -> None:
        """So many go before all of higher ranks from now on."""
        for edge in self._of(crowd)[rank + 1 :]:
            edge.passed += number

    def overtook(self, crowd: tuple[str, ...], number: int) -> None:
        """So many may go before the first rank of the other roles, too."""
        self._of(crowd)[0].passed += number

    def bears(self, crowd: tuple[str, ...], number: int, now_s: float) -> bool:
        """Whether so many more may go before all others."""
        return all(edge.bears(now_s) >= number for edge in self._of(crowd))

    def _of(self, crowd: tuple[str, ...]) -> tuple[_Edge, ...]:
        found = self._accounts.get(crowd)
        if found is None:
            found = self._accounts[crowd] = tuple(_Edge() for _ in RANKS)
        return found


class _Edge:
    """Of one rank, only those that bear less than all that must begin later: both lists rise."""

    def __init__(self) -> None:
        self.passed = 0
        """How many went before, of all that ever came."""
        self._untils: list[int] = []
        self._limits: list[float] = []
        """Of `passed`."""

    def add(self, bears: float, until_s: float) -> None:
        """Whole seconds bound how many are kept."""
        until, limit = ceil(until_s), self.passed + bears
        place = bisect_left(self._untils, until)
        if place < len(self._limits) and self._limits[place] <= limit:
            return
        first = bisect_left(self._limits, limit, 0, place)
        last = place + (place < len(self._untils) and self._untils[place] == until)
        self._untils[first:last] = [until]
        self._limits[first:last] = [limit]

    def bears(self, now_s: float) -> float:
        """Infinite: nobody is there who could come too late."""
        gone = bisect_left(self._untils, now_s)
        del self._untils[:gone], self._limits[:gone]
        return self._limits[0] - self.passed if self._limits else inf
