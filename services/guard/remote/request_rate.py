"""A limit of requests per minute, as a token bucket."""

from __future__ import annotations

from math import inf

__all__ = ["RequestRate"]

_BURST_SHARE = 0.1
"""Share of a minute's requests that may come at once; the others are spread evenly, so that no minute has more than
its number."""


class RequestRate:
    """Times are monotonic seconds."""

    def __init__(self, per_minute: int | None) -> None:
        """None: no limit."""
        self._burst = inf if per_minute is None else max(1.0, per_minute * _BURST_SHARE)
        self._per_s = inf if per_minute is None else max(per_minute - self._burst, per_minute / 2) / 60
        self._tokens = self._burst
        self._at_s = 0.0

    def wait_s(self, now_s: float) -> float:
        """Seconds until a request may start; 0: it may now."""
        if self._burst == inf:
            return 0.0
        if now_s > self._at_s:
            self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._per_s)
            self._at_s = now_s
        return max(0.0, (1 - self._tokens) / self._per_s)

    def take(self) -> None:
        """Count one request, which starts after `wait_s`: the next ones wait behind it."""
        self._tokens -= 1
