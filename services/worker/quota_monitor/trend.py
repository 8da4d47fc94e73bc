"""When a limit will be full if its use goes on as it did lately (REQUIREMENTS C7)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

__all__ = ["Trend"]

_SAMPLES: Final = 30
_LEAST_SAMPLES: Final = 3
_LEAST_SHARE: Final = 1 / 6
"""Of the time looked back on that must be known before anything is foretold."""


class Trend:
    """A straight line through the use of the last `lookback_s`; it looks ahead `horizon_s` and no further.

    Use falls when what was spent leaves the window of its limit, and so does the line: no window has to be known here.
    Instants are monotonic seconds and do not run backwards.
    """

    def __init__(self, lookback_s: float, horizon_s: float) -> None:
        self._lookback_s = lookback_s
        self._horizon_s = horizon_s
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, used: int, now_s: float) -> None:
        samples = self._samples
        if not samples or now_s - samples[-1][0] >= self._lookback_s / _SAMPLES:
            samples.append((now_s, used))
        while samples[0][0] < now_s - self._lookback_s:
            samples.popleft()

    def full_in_s(self, used: int, allowed: int) -> float | None:
        """Seconds; 0 when it is full now, None when it will not be within the horizon, as far as can be told."""
        if used >= allowed:
            return 0.0
        samples = self._samples
        if len(samples) < _LEAST_SAMPLES or samples[-1][0] - samples[0][0] < self._lookback_s * _LEAST_SHARE:
            return None
        slope = _slope(samples)
        if slope <= 0:
            return None
        wait_s = (allowed - used) / slope
        return wait_s if wait_s <= self._horizon_s else None


def _slope(samples: Sequence[tuple[float, int]]) -> float:
    """Of the least squares; per second."""
    mean_s = sum(at_s for at_s, _ in samples) / len(samples)
    mean_used = sum(used for _, used in samples) / len(samples)
    over = sum((at_s - mean_s) * (used - mean_used) for at_s, used in samples)
    return over / sum((at_s - mean_s) ** 2 for at_s, _ in samples)
