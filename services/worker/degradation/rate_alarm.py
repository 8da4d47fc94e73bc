"""An alarm on the share of bad observations in a sliding window, with hysteresis (D5)."""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec import Struct

from penstock.runtime.config.degradation import OnErrors, OnHighLatency

__all__ = ["RateAlarm"]

_INTERVALS: Final = 30
"""Number of intervals in a window; an observation leaves the window at most one interval late."""


class _Interval(Struct):
    number: int
    bad: int = 0
    total: int = 0


class RateAlarm:
    """Times are monotonic seconds; a time that runs backwards counts as the latest one.

    A window without observations has a bad share of 0, so the alarm of an unused model turns off.
    """

    def __init__(self, rule: OnHighLatency | OnErrors) -> None:
        self._rule = rule
        self._interval_s = rule.window_s / _INTERVALS
        self._intervals: deque[_Interval] = deque()
        self._bad = 0
        self._total = 0
        self._clock_s = float("-inf")
        self.on_since_s: float | None = None
        """When it turned on, if it was on when it was asked, or observed something, the last time."""

    def observe(self, *, bad: bool, now_s: float) -> None:
        now_s = self._advance(now_s)
        number = int(now_s // self._interval_s)
        if not self._intervals or self._intervals[-1].number != number:
            self._intervals.append(_Interval(number))
        interval = self._intervals[-1]
        interval.bad += bad
        interval.total += 1
        self._bad += bad
        self._total += 1
        self._update(now_s)

    def on(self, now_s: float) -> bool:
        if self.on_since_s is None:
            return False
        self._update(self._advance(now_s))
        return self.on_since_s is not None

    def seen(self, now_s: float) -> tuple[int, int]:
        """Numbers of bad and of all observations within the window."""
        self._advance(now_s)
        return self._bad, self._total

    def _update(self, now_s: float) -> None:
        rule = self._rule
        share = self._bad / self._total if self._total else 0.0
        if self.on_since_s is None:
            if self._total >= rule.min_calls and share > rule.trigger_share:
                self.on_since_s = now_s
        elif now_s - self.on_since_s >= rule.min_duration_s and share <= rule.clear_share:
            self.on_since_s = None

    def _advance(self, now_s: float) -> float:
        self._clock_s = now_s = max(self._clock_s, now_s)
        oldest = int((now_s - self._rule.window_s) // self._interval_s)
        while self._intervals and self._intervals[0].number < oldest:
            expired = self._intervals.popleft()
            self._bad -= expired.bad
            self._total -= expired.total
        return now_s
