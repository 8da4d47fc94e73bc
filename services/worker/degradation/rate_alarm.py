"""On while too large a share of what happened lately was bad, with hysteresis (REQUIREMENTS D5)."""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec import Struct

__all__ = ["AlarmTerms", "ShareAlarm"]

_GRAINS: Final = 30
"""A window is counted in so many parts; an observation leaves it at most one part late."""


class AlarmTerms(Struct, frozen=True, kw_only=True):
    share: float
    """On above this share of bad observations ..."""
    calm_share: float
    """... and off at this share or below; not above `share`."""
    window_s: float
    at_least: int
    """With fewer observations in the window it does not go on."""
    hold_s: float
    """Once on it stays on at least so long."""


class _Grain(Struct):
    number: int
    bad: int = 0
    total: int = 0


class ShareAlarm:
    """Instants are monotonic seconds; one that lies before an earlier one counts as the earlier one.

    A window without observations is calm, so the alarm ends by itself where nobody asks any more.
    """

    def __init__(self, terms: AlarmTerms) -> None:
        self._terms = terms
        self._grain_s = terms.window_s / _GRAINS
        self._grains: deque[_Grain] = deque()
        self._bad = 0
        self._total = 0
        self._clock_s = float("-inf")
        self._on_since_s: float | None = None

    def observe(self, *, bad: bool, now_s: float) -> None:
        now_s = self._advance(now_s)
        number = int(now_s // self._grain_s)
        if not self._grains or self._grains[-1].number != number:
            self._grains.append(_Grain(number))
        grain = self._grains[-1]
        grain.bad += bad
        grain.total += 1
        self._bad += bad
        self._total += 1
        self._judge(now_s)

    def on(self, now_s: float) -> bool:
        if self._on_since_s is None:
            return False
        self._judge(self._advance(now_s))
        return self._on_since_s is not None

    def seen(self, now_s: float) -> tuple[int, int]:
        """Bad ones and all of them, within the window."""
        self._advance(now_s)
        return self._bad, self._total

    def _judge(self, now_s: float) -> None:
        terms = self._terms
        share = self._bad / self._total if self._total else 0.0
        if self._on_since_s is None:
            if self._total >= terms.at_least and share > terms.share:
                self._on_since_s = now_s
        elif now_s - self._on_since_s >= terms.hold_s and share <= terms.calm_share:
            self._on_since_s = None

    def _advance(self, now_s: float) -> float:
        self._clock_s = now_s = max(self._clock_s, now_s)
        gone = int((now_s - self._terms.window_s) // self._grain_s)
        while self._grains and self._grains[0].number < gone:
            left = self._grains.popleft()
            self._bad -= left.bad
            self._total -= left.total
        return now_s
