"""Whether refusals are those of a limit, as one process sees them before any limit is known (decision 0018)."""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec import Struct

from services.worker.rate_limit.call_rate import RecentCalls
from services.worker.rate_limit.learned.rate import Refusal, first_estimate

__all__ = ["RefusalEvidence"]

_REFUSALS: Final = 8
_CALLS: Final = 20
"""`_REFUSALS` refusals among so many calls are learned from. A demand that is refused less often costs little more than
a call per answer, and what refuses at random refuses as much at any rate."""
_CALLS_ROUGH: Final = 12
"""The same where the estimate is the calls of the last minute: an exhausted limit refuses nearly all for a while."""
_SPAN_S: Final = 120.0
"""Older refusals tell nothing of a limit per minute."""


class _Seen(Struct, frozen=True):
    at_s: float
    began_s: float
    calls: int
    """Made until then."""
    admitted: int
    """Of the calls of the minute before."""
    refill_per_minute: float | None


class RefusalEvidence:
    """The latest refusals. Instants are monotonic seconds that do not run backwards."""

    __slots__ = ("_latest", "_refused")

    def __init__(self) -> None:
        self._latest: deque[_Seen] = deque(maxlen=_REFUSALS)
        self._refused = RecentCalls()

    def add(self, refusal: Refusal, calls: RecentCalls, *, began_s: float, now_s: float) -> None:
        """`calls`: all that were made, refused or not."""
        self._refused.add(now_s)
        admitted = max(0, calls.within_a_minute(now_s) - self._refused.within_a_minute(now_s))
        if refusal.teaches:
            self._latest.append(_Seen(now_s, began_s, calls.total, admitted, refusal.refill_per_minute))

    def clear(self) -> None:
        """A limit is known: what is refused from now on is told of that one."""
        self._latest.clear()

    def admitted(self) -> int:
        """The most calls that were admitted within a minute, when one of the latest refusals came."""
        return max((seen.admitted for seen in self._latest), default=0)

    def estimate(self, said: int | None, calls: int, now_s: float) -> float | None:
        """The limit that they tell of; None: none yet. `said`: the limit in the provider's headers, which is none per
        minute if more was admitted within one; `calls`: made until now.
        """
        latest = self._latest
        if not latest:
            return None
        oldest = latest[0]
        refills = [seen.refill_per_minute for seen in latest]
        most = _CALLS_ROUGH if None in refills else _CALLS
        if len(latest) < _REFUSALS or calls - oldest.calls > most or oldest.at_s < now_s - _SPAN_S:
            return None
        if said is not None and said >= self.admitted():
            return float(said)
        return first_estimate(refills, self.admitted())

    def last_began_s(self, now_s: float) -> float | None:
        """When the call began that was refused last, within the last minute; None: none was."""
        if not self._latest or self._latest[-1].at_s < now_s - _SPAN_S / 2:
            return None
        return self._latest[-1].began_s
