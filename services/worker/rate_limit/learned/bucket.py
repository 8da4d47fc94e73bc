"""A limit learned from refusals, and the evidence for it, counted in this process alone (decision 0018)."""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from penstock.contract.presence import Recovery
from penstock.contract.quota import QuotaLearned
from services.worker.rate_limit.learned.rate import (
    Refusal,
    alive,
    burst,
    dropped,
    first_estimate,
    growth,
    learned_from,
    plausible,
    refused,
)
from services.worker.rate_limit.quota_forecast import recovery
from services.worker.rate_limit.token_bucket import refill_returns, whole

__all__ = ["LearnedBucket", "RecentCalls", "RefusalEvidence"]

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


class LearnedBucket:
    """Learned limit of one (credential, model) without a configured one: every call is admitted until it is learned.

    Instants are monotonic seconds that do not run backwards.
    """

    __slots__ = ("_at_ms", "_dropped", "_evidence", "_header_limit", "_level", "calls", "limit")

    def __init__(self) -> None:
        self.limit: QuotaLearned | None = None
        """None: nothing is learned, or it expired."""
        self.calls = RecentCalls()
        self._dropped: QuotaLearned | None = None
        self._evidence = RefusalEvidence()
        self._header_limit: int | None = None
        self._level = 0.0
        self._at_ms = 0.0

    def known(self, now_s: float) -> QuotaLearned | None:
        if self.limit is not None and not alive(self.limit, int(now_s * 1000)):
            self._dropped, self.limit = self.limit, None
        return self.limit

    def wait_s(self, now_s: float) -> float:
        """Seconds until one request may go; 0: now."""
        known = self.known(now_s)
        if known is None:
            return 0.0
        self._advance(known, now_s)
        excess = self._level + 1 - burst(known)
        if excess <= 1e-6:
            return 0.0
        return (growth(known).done_at(excess, now_s * 1000) - now_s * 1000) / 1000

    def spend(self, now_s: float) -> None:
        """Count a call."""
        self.calls.add(now_s)
        known = self.limit
        if known is not None:
            self._advance(known, now_s)
            self._level += 1
            self.limit = replace(known, calls=known.calls + 1)

    def refusal(self, retry_after_s: float | None, began_s: float, now_s: float) -> Refusal:
        """A refusal, with the estimate of all the latest ones for the case that nothing is learned yet."""
        found = Refusal(at_ms=int(now_s * 1000), began_ms=int(began_s * 1000), retry_after_s=retry_after_s)
        self._evidence.add(found, self.calls, began_s=began_s, now_s=now_s)
        estimate = self._evidence.estimate(self._header_limit, self.calls.total, now_s)
        return replace(found, estimate=estimate, counted=self._evidence.admitted())

    def refused(self, retry_after_s: float | None, began_s: float, now_s: float) -> None:
        refusal = replace(self.refusal(retry_after_s, began_s, now_s), counted=0)
        known = self.known(now_s)
        if known is not None:
            self.limit = refused(known, refusal)
        elif not dropped(self._dropped, refusal.at_ms):
            header_limit = self._header_limit if self._header_limit == refusal.estimate else None
            self.limit = learned_from(refusal, header_limit)
        if self.limit is not None:
            self._evidence.clear()
            self._level, self._at_ms = float(burst(self.limit)), now_s * 1000

    def learned_elsewhere(self) -> None:
        """The shared record keeps the limit from now on."""
        self._evidence.clear()

    def last_refusal(self, now_s: float) -> tuple[float, int] | None:
        """When the latest refused call began, and how many were admitted in the minute before; None: no refusal."""
        began_s = self._evidence.last_began_s(now_s)
        return None if began_s is None else (began_s, self._evidence.admitted())

    def observe(self, per_minute: int) -> None:
        """Take the limit from a header."""
        self._header_limit = per_minute
        if self.limit is not None and plausible(self.limit, per_minute):
            self.limit = replace(self.limit, reported_per_minute=per_minute)

    def recovery(self, now_s: float) -> Recovery | None:
        """Forecast of the limit; None: nothing is learned."""
        known = self.known(now_s)
        if known is None:
            return None
        self._advance(known, now_s)
        per_s = growth(known).rate(now_s * 1000) * 1000
        allowed, free = round(per_s * _MINUTE_S), burst(known) - whole(self._level)
        returns = refill_returns(self._level, per_s, _MINUTE_S)
        return recovery("requests_per_minute", _MINUTE_S, allowed, allowed - free, returns)

    def _advance(self, known: QuotaLearned, now_s: float) -> None:
        now_ms = max(self._at_ms, now_s * 1000)
        if self._level > 0:
            self._level = max(0.0, self._level - growth(known).between(self._at_ms, now_ms))
        self._at_ms = now_ms
