"""The busiest minute: the most that any 60 seconds on end may have held."""

from __future__ import annotations

from collections import deque
from math import floor
from typing import Final

from msgspec import Struct

__all__ = ["BusiestMinute", "Load"]

_GRAIN_S: Final = 0.1
_WINDOW: Final = 601
"""Grains that 60 seconds can touch, wherever they begin: what is reported is never too little."""
_LATE: Final = 3_000
"""Grains for which a call may still tell what it used: 5 minutes."""
_KEPT: Final = 2 * (_WINDOW + _LATE)


class Load(Struct):
    requests: int = 0
    tokens: int = 0


class BusiestMinute:
    """Fed as calls begin and end, in any number: what is kept is a sum per tenth of a second, of 12 minutes at most.

    A call counts whole, tokens too, at the moment it was admitted. Instants are monotonic seconds.
    """

    def __init__(self) -> None:
        self._grains: dict[int, Load] = {}
        """In order of time."""
        self._newest = -1
        self._before = Load()
        """The busiest of the minutes that are no longer kept."""

    def admitted(self, at_s: float) -> None:
        number = floor(at_s / _GRAIN_S)
        if number > self._newest:
            self._begin(number)
        self._grains[self._newest].requests += 1

    def used(self, tokens: int, at_s: float) -> None:
        """A call that was admitted at `at_s` has used so many tokens; forgotten if that is long ago."""
        load = self._grains.get(floor(at_s / _GRAIN_S))
        if load is not None:
            load.tokens += tokens

    def so_far(self) -> Load:
        most = Load(self._before.requests, self._before.tokens)
        sums = Load()
        window: deque[tuple[int, Load]] = deque()
        for number, load in self._grains.items():
            window.append((number, load))
            sums.requests += load.requests
            sums.tokens += load.tokens
            while window[0][0] <= number - _WINDOW:
                _, gone = window.popleft()
                sums.requests -= gone.requests
                sums.tokens -= gone.tokens
            most.requests = max(most.requests, sums.requests)
            most.tokens = max(most.tokens, sums.tokens)
        return most

    def _begin(self, number: int) -> None:
        oldest = next(iter(self._grains), number)
        if number - oldest >= _KEPT:
            self._before = self.so_far()
            keep = number - _WINDOW - _LATE
            self._grains = {each: load for each, load in self._grains.items() if each > keep}
        self._grains[number] = Load()
        self._newest = number
