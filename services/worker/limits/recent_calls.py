"""How many calls were made within the last minute; cheap enough to be counted where there is no limit."""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["RecentCalls"]

_SECONDS: Final = 60


class RecentCalls:
    __slots__ = ("_counts", "_second")

    def __init__(self) -> None:
        self._counts: deque[list[int]] = deque(maxlen=_SECONDS)
        """Second, calls in it."""
        self._second = -1

    def add(self, now_s: float) -> None:
        second = int(now_s)
        if second == self._second:
            self._counts[-1][1] += 1
        else:
            self._second = second
            self._counts.append([second, 1])

    def within_a_minute(self, now_s: float) -> int:
        return sum(count for second, count in self._counts if second > now_s - _SECONDS)
