"""How many calls were made, and within the last minute; cheap enough to be counted where there is no limit."""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["RecentCalls"]

_SECONDS: Final = 60


class RecentCalls:
    """Instants are monotonic seconds that do not run backwards."""

    __slots__ = ("_next_s", "_seconds", "total")

    def __init__(self) -> None:
        self.total = 0
        self._seconds: deque[tuple[int, int]] = deque(maxlen=_SECONDS + 1)
        """Each second in which there were calls, and the total before it."""
        self._next_s = float("-inf")

    def add(self, now_s: float) -> None:
        if now_s >= self._next_s:
            second = int(now_s)
            self._next_s = second + 1.0
            self._seconds.append((second, self.total))
        self.total += 1

    def within_a_minute(self, now_s: float) -> int:
        for second, before in self._seconds:
            if second > now_s - _SECONDS:
                return self.total - before
        return 0
