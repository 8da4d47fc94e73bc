"""Forecast of the time at which a limit is used up, by linear extrapolation (REQUIREMENTS C7)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

__all__ = ["Trend"]

_SAMPLES: Final = 30
_MIN_SAMPLES: Final = 3
_MIN_SHARE: Final = 1 / 6
"""Minimum share of the lookback time that the samples must cover for a forecast."""


class Trend:
    """A straight line through the usage of the last `lookback_s`, extrapolated by at most `horizon_s`.

    Usage falls when spent quota leaves the limit's window, so the slope accounts for the window. Times are monotonic
    seconds and do not decrease.
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
        """Seconds until the limit is used up; 0 if it is now, None if not within the horizon or unknown."""
        if used >= allowed:
            return 0.0
        samples = self._samples
        if len(samples) < _MIN_SAMPLES or samples[-1][0] - samples[0][0] < self._lookback_s * _MIN_SHARE:
            return None
        slope = _slope(samples)
        if slope <= 0:
            return None
        wait_s = (allowed - used) / slope
        return wait_s if wait_s <= self._horizon_s else None


def _slope(samples: Sequence[tuple[float, int]]) -> float:
    """Slope per second of the least squares line."""
    mean_s = sum(at_s for at_s, _ in samples) / len(samples)
    mean_used = sum(used for _, used in samples) / len(samples)
    covariance = sum((at_s - mean_s) * (used - mean_used) for at_s, used in samples)
    return covariance / sum((at_s - mean_s) ** 2 for at_s, _ in samples)
