"""How much a worker should lease: for its waiting requests, and for those of the next moment."""

from __future__ import annotations

from math import ceil
from typing import Final

from msgspec import Struct

from services.worker.rate_limit.record.lease_settings import NOTHING, Amounts

__all__ = ["Demand"]

_SHORTEST_S: Final = 0.1
"""Shortest span in seconds over which a rate is measured."""
_IDLE_S: Final = 1.0
"""Seconds without a request after which a worker returns its lease."""
_SLOT_S: Final = 0.1
"""Seconds of work for which slots are kept: a slot is needed at once or not at all."""


class _Need(Struct, frozen=True):
    tokens: int
    batch_only: bool
    """It is a batch request, and leaves the reserve free."""


class Demand:
    """Counts requests between two writes to the record."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s
        self._since_s: float | None = None
        self._requested_s = float("-inf")
        self._interactive_s = float("-inf")
        """When a request that may use the reserve came last."""
        self._requests = 0
        self._tokens = 0
        self._needs: dict[int, _Need] = {}
        """Needs of the waiting requests since the last grant, by their number, oldest first. An unnamed request counts
        each time, under a negative number.
        """
        self._unnamed = 0
        self._per_s = 0.0
        self._tokens_each = 0.0

    @property
    def first(self) -> int | None:
        """Tokens of the longest waiting request; None: no request waits."""
        return next((need.tokens for need in self._needs.values()), None)

    def before(self, waiter: int) -> int | None:
        """Tokens of the request that has to be served before `waiter`; None: there is none, or `waiter` is unnamed."""
        if waiter == 0:
            return None
        for each, need in self._needs.items():
            return None if each == waiter else need.tokens
        return None

    def record_grant(self, tokens: int, now_s: float, waiter: int = 0, *, batch_only: bool = False) -> None:
        """A permit was granted."""
        self._record_request(now_s, batch_only=batch_only)
        self._needs.pop(waiter, None)
        self._requests += 1
        self._tokens += tokens

    def enqueue(self, tokens: int, now_s: float, waiter: int = 0, *, batch_only: bool = False) -> None:
        """A request waits. After a wake-up without enough quota it is queued again."""
        self._record_request(now_s, batch_only=batch_only)
        if waiter == 0:
            self._unnamed -= 1
        self._needs[waiter or self._unnamed] = _Need(tokens, batch_only)

    def withdraw(self, waiter: int) -> bool:
        """Remove a waiting request. Returns whether other requests waited behind it, here or in other workers."""
        was_first = next(iter(self._needs), None) == waiter
        self._needs.pop(waiter, None)
        return was_first

    def batch_only(self, now_s: float) -> bool:
        """Whether only batch requests ask here: the worker then leases nothing of the reserve."""
        lately = now_s - self._interactive_s <= _IDLE_S
        return not lately and all(need.batch_only for need in self._needs.values())

    def is_idle(self, now_s: float) -> bool:
        return now_s - self._requested_s > _IDLE_S

    def idle_at_s(self) -> float:
        return self._requested_s + _IDLE_S

    def measure(self, now_s: float) -> None:
        """Update the rate when a write begins. A burst counts at once, an idle time slowly."""
        elapsed_s = _IDLE_S if self._since_s is None else now_s - self._since_s
        if self._requests:
            self._tokens_each = self._tokens / self._requests
        rate = self._requests / max(_SHORTEST_S, elapsed_s)
        weight = min(1.0, elapsed_s)
        self._per_s = max(rate, self._per_s + (rate - self._per_s) * weight)
        self._requests = self._tokens = 0
        self._since_s = now_s

    def want(self, running: int, now_s: float) -> Amounts:
        """Amounts to hold, as measured."""
        if self.is_idle(now_s):
            return NOTHING if self.first is None else Amounts(1, self.first, running + 1)
        ahead = self._per_s * self._ahead_s
        return Amounts(
            len(self._needs) + ceil(ahead),
            sum(need.tokens for need in self._needs.values()) + ceil(ahead * self._tokens_each),
            running + len(self._needs) + ceil(self._per_s * _SLOT_S),
        )

    def clear_waiters(self) -> None:
        """A lease was granted for the waiting requests: they ask again."""
        self._needs.clear()

    def _record_request(self, now_s: float, *, batch_only: bool) -> None:
        self._requested_s = now_s
        if not batch_only:
            self._interactive_s = now_s
