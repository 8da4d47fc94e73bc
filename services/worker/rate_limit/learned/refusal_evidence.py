"""Evidence that refusals are caused by a rate limit, in one process, before a limit is known (decision 0018)."""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec import Struct

from services.worker.rate_limit.learned.rate import Refusal, first_estimate

__all__ = ["RecentCalls", "RefusalEvidence"]

_MINUTE_S: Final = 60
_REFUSALS: Final = 8
"""Refusals that are enough evidence, if they come among few calls."""
_CALLS: Final = 20
"""Most calls among which `_REFUSALS` refusals are evidence. Fewer refusals cost little more than a call per answer, and
a provider that refuses at random does so at any rate."""
_CALLS_ROUGH: Final = 12
"""The same where the estimate is the number of calls of the last minute: an exhausted limit refuses nearly all calls
for a while."""
_SPAN_S: Final = 120.0
"""Seconds after which a refusal is no evidence of a limit per minute."""


class RecentCalls:
    """Counts all calls and those of the last minute. Instants are monotonic seconds that do not run backwards."""

    __slots__ = ("_next_s", "_seconds", "total")

    def __init__(self) -> None:
        self.total = 0
        self._seconds: deque[tuple[int, int]] = deque(maxlen=_MINUTE_S + 1)
        """Each second with calls, and the total before it."""
        self._next_s = float("-inf")

    def add(self, now_s: float) -> None:
        if now_s >= self._next_s:
            second = int(now_s)
            self._next_s = second + 1.0
            self._seconds.append((second, self.total))
        self.total += 1

    def within_a_minute(self, now_s: float) -> int:
        for second, before in self._seconds:
            if second > now_s - _MINUTE_S:
                return self.total - before
        return 0


class _Seen(Struct, frozen=True):
    at_s: float
    began_s: float
    calls: int
    """All calls made until then."""
    admitted: int
    """Calls admitted in the minute before."""
    refill_per_minute: float | None


class RefusalEvidence:
    """The latest refusals of one key. Instants are monotonic seconds that do not run backwards."""

    __slots__ = ("_latest", "_refused")

    def __init__(self) -> None:
        self._latest: deque[_Seen] = deque(maxlen=_REFUSALS)
        self._refused = RecentCalls()

    def add(self, refusal: Refusal, calls: RecentCalls, *, began_s: float, now_s: float) -> None:
        """`calls`: all that were made, refused or not."""
        self._refused.add(now_s)
        admitted = max(0, calls.within_a_minute(now_s) - self._refused.within_a_minute(now_s))
        if refusal.is_informative:
            self._latest.append(_Seen(now_s, began_s, calls.total, admitted, refusal.refill_per_minute))

    def clear(self) -> None:
        """Start anew: a limit is known, and later refusals concern that one."""
        self._latest.clear()

    def admitted(self) -> int:
        """The most calls admitted within a minute before one of the latest refusals."""
        return max((seen.admitted for seen in self._latest), default=0)

    def estimate(self, header_limit: int | None, calls: int, now_s: float) -> float | None:
        """The limit that the refusals suggest; None: not enough evidence.

        `header_limit`: the limit in the provider's headers; it is not per minute if more was admitted within a minute.
        `calls`: all calls made until now.
        """
        latest = self._latest
        if not latest:
            return None
        oldest = latest[0]
        refills = [seen.refill_per_minute for seen in latest]
        most = _CALLS_ROUGH if None in refills else _CALLS
        if len(latest) < _REFUSALS or calls - oldest.calls > most or oldest.at_s < now_s - _SPAN_S:
            return None
        if header_limit is not None and header_limit >= self.admitted():
            return float(header_limit)
        return first_estimate(refills, self.admitted())

    def last_began_s(self, now_s: float) -> float | None:
        """When the latest refused call began; None: no call was refused within the last minute."""
        if not self._latest or self._latest[-1].at_s < now_s - _SPAN_S / 2:
            return None
        return self._latest[-1].began_s
