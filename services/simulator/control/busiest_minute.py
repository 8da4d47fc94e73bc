"""The busiest minute: an upper bound for the load of any 60 consecutive seconds."""

from __future__ import annotations

from collections import deque
from math import floor
from typing import Final

from msgspec import Struct

__all__ = ["BusiestMinute", "Load"]

_INTERVAL_S: Final = 0.1
_WINDOW: Final = 601
"""Maximum number of intervals that 60 seconds overlap, wherever they begin; the result is never too low."""
_LATE: Final = 3_000
"""Number of intervals after admission in which a call may still report its usage: 5 minutes."""
_KEPT: Final = 2 * (_WINDOW + _LATE)


class Load(Struct):
    requests: int = 0
    tokens: int = 0


class BusiestMinute:
    """Sliding maximum over sums per tenth of a second, of at most 12 minutes.

    A call, its tokens included, counts at the time of its admission. Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._intervals: dict[int, Load] = {}
        """In order of time."""
        self._newest = -1
        self._discarded = Load()
        """The maximum over the intervals that are no longer kept."""

    def record_admission(self, at_s: float) -> None:
        number = floor(at_s / _INTERVAL_S)
        if number > self._newest:
            self._open(number)
        self._intervals[self._newest].requests += 1

    def record_tokens(self, tokens: int, admitted_s: float) -> None:
        """Add the tokens of a call to the time of its admission; ignored when that is no longer kept."""
        load = self._intervals.get(floor(admitted_s / _INTERVAL_S))
        if load is not None:
            load.tokens += tokens

    def maximum(self) -> Load:
        most = Load(self._discarded.requests, self._discarded.tokens)
        sums = Load()
        window: deque[tuple[int, Load]] = deque()
        for number, load in self._intervals.items():
            window.append((number, load))
            sums.requests += load.requests
            sums.tokens += load.tokens
            while window[0][0] <= number - _WINDOW:
                _, expired = window.popleft()
                sums.requests -= expired.requests
                sums.tokens -= expired.tokens
            most.requests = max(most.requests, sums.requests)
            most.tokens = max(most.tokens, sums.tokens)
        return most

    def _open(self, number: int) -> None:
        oldest = next(iter(self._intervals), number)
        if number - oldest >= _KEPT:
            self._discarded = self.maximum()
            keep = number - _WINDOW - _LATE
            self._intervals = {each: load for each, load in self._intervals.items() if each > keep}
        self._intervals[number] = Load()
        self._newest = number
