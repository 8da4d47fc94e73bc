"""Usage of one limit in the last hour and day, as observed by this process (REQUIREMENTS C7)."""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec import Struct

from penstock.contract.presence import LimitPast
from services.worker.rate_limit.limit import DAY_S, MINUTE_S

__all__ = ["LimitHistory"]

_HOUR_S: Final = 3600.0
_MAX_STEP_S: Final = 10.0
"""Maximum time between two samples that counts as observed; after a longer gap the process was suspended."""


class _Interval(Struct):
    number: int
    near_s: float = 0.0
    full_s: float = 0.0
    missed: int = 0
    peak: int = 0
    unmet_most: int = 0
    """Maximum amount missed within a minute."""
    unmet_all: int = 0
    """Total amount missed."""


class _Span:
    def __init__(self, span_s: float, interval_s: float) -> None:
        self._interval_s = interval_s
        self._count = round(span_s / interval_s)
        self._intervals: deque[_Interval] = deque()

    def at(self, now_s: float) -> _Interval:
        number = int(now_s // self._interval_s)
        self._discard(number)
        if not self._intervals or self._intervals[-1].number < number:
            self._intervals.append(_Interval(number))
        return self._intervals[-1]

    def summary(self, now_s: float, *, daily: bool) -> LimitPast:
        self._discard(int(now_s // self._interval_s))
        intervals = self._intervals
        unmet = (
            sum(each.unmet_all for each in intervals)
            if daily
            else max((each.unmet_most for each in intervals), default=0)
        )
        return LimitPast(
            near_s=round(sum(each.near_s for each in intervals)),
            full_s=round(sum(each.full_s for each in intervals)),
            missed=sum(each.missed for each in intervals),
            peak=max((each.peak for each in intervals), default=0),
            unmet=unmet,
        )

    def _discard(self, number: int) -> None:
        while self._intervals and self._intervals[0].number <= number - self._count:
            self._intervals.popleft()


class LimitHistory:
    """Usage and unmet demand of one limit. Times are monotonic seconds and do not decrease."""

    def __init__(self, *, daily: bool) -> None:
        """`daily`: the limit is per day, so missed amounts add up over the day."""
        self._daily = daily
        self._hour = _Span(_HOUR_S, MINUTE_S)
        self._day = _Span(DAY_S, 10 * MINUTE_S)
        self._last_s: float | None = None
        self._missed_since = False
        self._minute = (0, 0)
        self.watched_s = 0.0

    def sample(self, used: int, allowed: int, now_s: float, *, near_share: float) -> float:
        """Add the time since the last sample; returns for how much of it the limit was full: used up, or with too
        little left for a request.
        """
        step_s = 0.0 if self._last_s is None else now_s - self._last_s
        step_s = step_s if step_s <= _MAX_STEP_S else 0.0
        full_s = step_s if used >= allowed or self._missed_since else 0.0
        near_s = step_s if full_s or used >= allowed * near_share else 0.0
        for span in (self._hour, self._day):
            interval = span.at(now_s)
            interval.near_s += near_s
            interval.full_s += full_s
            interval.peak = max(interval.peak, used)
        self.watched_s += step_s
        if step_s or self._last_s is None:
            self._missed_since = False
        self._last_s = now_s
        return full_s

    def record_missed(self, amount: int, now_s: float) -> None:
        """Record a request that had to wait for `amount` (requests, tokens or calls) of the limit."""
        self._missed_since = True
        number, total = self._minute
        minute = int(now_s // MINUTE_S)
        within_minute = amount + (total if number == minute else 0)
        self._minute = (minute, within_minute)
        for span in (self._hour, self._day):
            interval = span.at(now_s)
            interval.missed += 1
            interval.unmet_all += amount
            interval.unmet_most = max(interval.unmet_most, within_minute)

    def hour(self, now_s: float) -> LimitPast:
        return self._hour.summary(now_s, daily=self._daily)

    def day(self, now_s: float) -> LimitPast:
        return self._day.summary(now_s, daily=self._daily)
