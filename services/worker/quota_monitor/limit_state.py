"""What this process observes of one limit: its usage in the last hour and day, its trend, and when to warn (C7)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from penstock.contract.presence import PastUsage
from penstock.runtime.config.degradation import QuotaWarning
from services.worker.rate_limit.limit import DAY_S, MINUTE_S

__all__ = ["AlarmState", "LimitHistory", "ThresholdAlarm", "Trend"]

_HOUR_S: Final = 3600.0
_MAX_STEP_S: Final = 10.0
"""Maximum time between two samples that counts as observed; after a longer gap the process was suspended."""
_SAMPLES: Final = 30
"""Number of samples of a trend."""
_MIN_SAMPLES: Final = 3
_MIN_SHARE: Final = 1 / 6
"""Minimum share of the lookback time that the samples must cover for a forecast."""
AlarmState = Literal["warned", "eased"]


class _Interval(Struct):
    number: int
    near_limit_s: float = 0.0
    full_s: float = 0.0
    throttled: int = 0
    peak: int = 0
    unmet_most: int = 0
    """Maximum unmet demand within a minute."""
    unmet_all: int = 0
    """Total unmet demand."""


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

    def summary(self, now_s: float, *, daily: bool) -> PastUsage:
        self._discard(int(now_s // self._interval_s))
        intervals = self._intervals
        unmet = (
            sum(each.unmet_all for each in intervals)
            if daily
            else max((each.unmet_most for each in intervals), default=0)
        )
        return PastUsage(
            near_limit_s=round(sum(each.near_limit_s for each in intervals)),
            full_s=round(sum(each.full_s for each in intervals)),
            throttled=sum(each.throttled for each in intervals),
            peak=max((each.peak for each in intervals), default=0),
            unmet=unmet,
        )

    def _discard(self, number: int) -> None:
        while self._intervals and self._intervals[0].number <= number - self._count:
            self._intervals.popleft()


class LimitHistory:
    """Usage and unmet demand of one limit. Times are monotonic seconds and do not decrease."""

    def __init__(self, *, daily: bool) -> None:
        """`daily`: the limit is per day, so unmet demand adds up over the day."""
        self._daily = daily
        self._hour = _Span(_HOUR_S, MINUTE_S)
        self._day = _Span(DAY_S, 10 * MINUTE_S)
        self._last_s: float | None = None
        self._throttled_since = False
        self._minute = (0, 0)
        self.watched_s = 0.0

    def sample(self, used: int, allowed: int, now_s: float, *, near_share: float) -> float:
        """Add the time since the last sample; returns for how much of it the limit was full: used up, or with too
        little left for a request.
        """
        step_s = 0.0 if self._last_s is None else now_s - self._last_s
        step_s = step_s if step_s <= _MAX_STEP_S else 0.0
        full_s = step_s if used >= allowed or self._throttled_since else 0.0
        near_limit_s = step_s if full_s or used >= allowed * near_share else 0.0
        for span in (self._hour, self._day):
            interval = span.at(now_s)
            interval.near_limit_s += near_limit_s
            interval.full_s += full_s
            interval.peak = max(interval.peak, used)
        self.watched_s += step_s
        if step_s or self._last_s is None:
            self._throttled_since = False
        self._last_s = now_s
        return full_s

    def record_throttled(self, amount: int, now_s: float) -> None:
        """Record a request that had to wait for `amount` (requests, tokens or calls) of the limit."""
        self._throttled_since = True
        number, total = self._minute
        minute = int(now_s // MINUTE_S)
        within_minute = amount + (total if number == minute else 0)
        self._minute = (minute, within_minute)
        for span in (self._hour, self._day):
            interval = span.at(now_s)
            interval.throttled += 1
            interval.unmet_all += amount
            interval.unmet_most = max(interval.unmet_most, within_minute)

    def hour(self, now_s: float) -> PastUsage:
        return self._hour.summary(now_s, daily=self._daily)

    def day(self, now_s: float) -> PastUsage:
        return self._day.summary(now_s, daily=self._daily)


class Trend:
    """A straight line through the usage of the last `lookback_s`, extrapolated by at most `horizon_s`.

    Usage falls when spent quota leaves the limit's window, so the slope includes the effect of the window. Times are
    monotonic seconds and do not decrease.
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


class ThresholdAlarm:
    """Changes to warned at `warn_share`, and to eased after `clear_s` without interruption below `clear_share`."""

    def __init__(self, settings: QuotaWarning, state: AlarmState | None = None) -> None:
        """`state`: None if unknown, as when an earlier worker may have warned; then the first change to eased is
        reported too.
        """
        self._settings = settings
        self._low_since_s: float | None = None
        self.state = state

    def update(self, used: int, allowed: int, now_s: float) -> AlarmState | None:
        """Record the usage; returns the new state if it changed. A limit of 0 is always used up."""
        share = used / allowed if allowed > 0 else 1.0
        if share >= self._settings.clear_share:
            self._low_since_s = None
        elif self._low_since_s is None:
            self._low_since_s = now_s
        if share >= self._settings.warn_share:
            return self._move("warned")
        if self._low_since_s is not None and now_s - self._low_since_s >= self._settings.clear_s:
            return self._move("eased")
        return None

    def _move(self, to: AlarmState) -> AlarmState | None:
        if self.state == to:
            return None
        self.state = to
        return to
