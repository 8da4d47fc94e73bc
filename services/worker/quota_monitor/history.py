"""What happened to one limit in the last hour and day, as far as this process watched (REQUIREMENTS C7)."""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec import Struct

from penstock.contract.presence import LimitPast
from services.worker.rate_limit.limit import DAY_S, MINUTE_S

__all__ = ["LimitHistory"]

_HOUR_S: Final = 3600.0
_LONGEST_STEP_S: Final = 10.0
"""Time between two looks beyond this counts for nothing: the process slept, and nobody knows."""


class _Grain(Struct):
    number: int
    near_s: float = 0.0
    full_s: float = 0.0
    missed: int = 0
    peak: int = 0
    unmet_most: int = 0
    """The most that was missed within a minute."""
    unmet_all: int = 0


class _Span:
    def __init__(self, span_s: float, grain_s: float) -> None:
        self._grain_s = grain_s
        self._count = round(span_s / grain_s)
        self._grains: deque[_Grain] = deque()

    def at(self, now_s: float) -> _Grain:
        number = int(now_s // self._grain_s)
        self._forget(number)
        if not self._grains or self._grains[-1].number < number:
            self._grains.append(_Grain(number))
        return self._grains[-1]

    def past(self, now_s: float, *, daily: bool) -> LimitPast:
        self._forget(int(now_s // self._grain_s))
        grains = self._grains
        unmet = (
            sum(grain.unmet_all for grain in grains)
            if daily
            else max((grain.unmet_most for grain in grains), default=0)
        )
        return LimitPast(
            near_s=round(sum(grain.near_s for grain in grains)),
            full_s=round(sum(grain.full_s for grain in grains)),
            missed=sum(grain.missed for grain in grains),
            peak=max((grain.peak for grain in grains), default=0),
            unmet=unmet,
        )

    def _forget(self, number: int) -> None:
        while self._grains and self._grains[0].number <= number - self._count:
            self._grains.popleft()


class LimitHistory:
    """Instants are monotonic seconds and do not run backwards."""

    def __init__(self, *, daily: bool) -> None:
        """`daily`: the limit is of a day, so what was missed in it adds up."""
        self._daily = daily
        self._hour = _Span(_HOUR_S, MINUTE_S)
        self._day = _Span(DAY_S, 10 * MINUTE_S)
        self._last_s: float | None = None
        self._missed_since = False
        self._minute = (0, 0)
        self.watched_s = 0.0

    def sample(self, used: int, allowed: int, now_s: float, *, near_share: float) -> float:
        """Add the time since the last look; returns how much of it the limit was full: nothing left, or too little
        for somebody who asked.
        """
        step_s = 0.0 if self._last_s is None else now_s - self._last_s
        step_s = step_s if step_s <= _LONGEST_STEP_S else 0.0
        full_s = step_s if used >= allowed or self._missed_since else 0.0
        near_s = step_s if full_s or used >= allowed * near_share else 0.0
        for span in (self._hour, self._day):
            grain = span.at(now_s)
            grain.near_s += near_s
            grain.full_s += full_s
            grain.peak = max(grain.peak, used)
        self.watched_s += step_s
        if step_s or self._last_s is None:
            self._missed_since = False
        self._last_s = now_s
        return full_s

    def missed(self, amount: int, now_s: float) -> None:
        """A request of so much (requests, tokens, calls) could not be let through when it came."""
        self._missed_since = True
        number, before = self._minute
        minute = int(now_s // MINUTE_S)
        within = amount + (before if number == minute else 0)
        self._minute = (minute, within)
        for span in (self._hour, self._day):
            grain = span.at(now_s)
            grain.missed += 1
            grain.unmet_all += amount
            grain.unmet_most = max(grain.unmet_most, within)

    def hour(self, now_s: float) -> LimitPast:
        return self._hour.past(now_s, daily=self._daily)

    def day(self, now_s: float) -> LimitPast:
        return self._day.past(now_s, daily=self._daily)
