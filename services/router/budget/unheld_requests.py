"""Bounds what is served without a hold while no ledger answers."""

from __future__ import annotations

from collections import Counter
from typing import Final

from penstock.bus.clock import SYSTEM, Clock

__all__ = ["UnheldRequests"]

_MOST_PER_MINUTE: Final = 100
"""Of one account, at one router."""
_MINUTE_S: Final = 60.0


class UnheldRequests:
    """Counts the requests of each account that go on without a hold, by minutes."""

    def __init__(self, clock: Clock = SYSTEM, most_per_minute: int = _MOST_PER_MINUTE) -> None:
        self._clock = clock
        self._most = most_per_minute
        self._began_s = 0.0
        self._counted: Counter[str] = Counter()

    def take(self, account: str) -> bool:
        """Count a request; False: the account has had as many in this minute as it may have."""
        now_s = self._clock.monotonic_s()
        if now_s >= self._began_s + _MINUTE_S:
            self._began_s = now_s
            self._counted.clear()
        if self._counted[account] >= self._most:
            return False
        self._counted[account] += 1
        return True
