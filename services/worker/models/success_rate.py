"""How the latest calls of one model ended: the share that succeeded."""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["RecentCalls"]

_MOST: Final = 40
_WINDOW_S: Final = 60.0


class RecentCalls:
    """Ends of the latest calls, at most `_MOST` of the last `_WINDOW_S` seconds. Instants are monotonic seconds."""

    def __init__(self) -> None:
        self._ends: deque[tuple[float, bool]] = deque(maxlen=_MOST)

    def add(self, *, succeeded: bool, now_s: float) -> None:
        self._ends.append((now_s, succeeded))

    def success_share(self, now_s: float) -> float:
        """From 0 to 1; 0 where no call ended lately."""
        ends = self._ends
        while ends and ends[0][0] < now_s - _WINDOW_S:
            ends.popleft()
        return sum(succeeded for _, succeeded in ends) / len(ends) if ends else 0.0
