"""The success share of the recent calls of one model."""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["SuccessRate"]

_MAX_CALLS: Final = 40
_WINDOW_S: Final = 60.0


class SuccessRate:
    """Outcomes of at most `_MAX_CALLS` calls of the last `_WINDOW_S` seconds. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._ends: deque[tuple[float, bool]] = deque(maxlen=_MAX_CALLS)

    def record(self, *, succeeded: bool, now_s: float) -> None:
        self._ends.append((now_s, succeeded))

    def success_share(self, now_s: float) -> float:
        """Between 0 and 1; 0 if no call ended within the window."""
        ends = self._ends
        while ends and ends[0][0] < now_s - _WINDOW_S:
            ends.popleft()
        return sum(succeeded for _, succeeded in ends) / len(ends) if ends else 0.0
