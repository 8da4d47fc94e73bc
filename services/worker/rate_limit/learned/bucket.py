"""A limit learned from refusals, counted in this process alone (decision 0018)."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from penstock.contract.presence import Recovery
from penstock.contract.quota import QuotaLearned
from services.worker.rate_limit.forecast import recovery
from services.worker.rate_limit.learned.rate import (
    Refusal,
    alive,
    burst,
    dropped,
    growth,
    learned_from,
    plausible,
    refused,
)
from services.worker.rate_limit.learned.refusal_evidence import RecentCalls, RefusalEvidence
from services.worker.rate_limit.token_bucket import refill_returns, whole

__all__ = ["LearnedBucket"]

MINUTE_S: Final = 60.0


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
            self.limit = replace(self.limit, said_per_minute=per_minute)

    def recovery(self, now_s: float) -> Recovery | None:
        """Forecast of the limit; None: nothing is learned."""
        known = self.known(now_s)
        if known is None:
            return None
        self._advance(known, now_s)
        per_s = growth(known).rate(now_s * 1000) * 1000
        allowed, free = round(per_s * MINUTE_S), burst(known) - whole(self._level)
        returns = refill_returns(self._level, per_s, MINUTE_S)
        return recovery("requests_per_minute", MINUTE_S, allowed, allowed - free, returns)

    def _advance(self, known: QuotaLearned, now_s: float) -> None:
        now_ms = max(self._at_ms, now_s * 1000)
        if self._level > 0:
            self._level = max(0.0, self._level - growth(known).between(self._at_ms, now_ms))
        self._at_ms = now_ms
