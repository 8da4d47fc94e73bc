"""How much a worker should have in hand: what waits, and what will come in the next moment."""

from __future__ import annotations

from math import ceil
from typing import Final

from services.worker.lease_terms import NOTHING, Amounts

__all__ = ["Demand"]

_SHORTEST_S: Final = 0.1
_IDLE_S: Final = 1.0
"""Who has not asked for so long gives back what it holds."""
_SLOT_S: Final = 0.1
"""A place among the concurrent calls is needed at once or not at all; a few are kept for the next ones."""


class Demand:
    """Counts between two writes to the record."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s
        self._since_s: float | None = None
        self._asked_s = float("-inf")
        self._requests = 0
        self._tokens = 0
        self._denied_requests = 0
        self._denied_tokens = 0
        self._per_s = 0.0
        self._tokens_each = 0.0
        self.first: int | None = None
        """Tokens of the request that was refused first since the last grant; None: nobody waits."""

    def granted(self, tokens: int, now_s: float) -> None:
        """A permit was given out."""
        self._requests += 1
        self._tokens += tokens
        self._asked_s = now_s

    def refused(self, tokens: int, now_s: float) -> None:
        """Somebody waits. Who is woken and still finds nothing will say so again."""
        self._denied_requests += 1
        self._denied_tokens += tokens
        self._asked_s = now_s
        if self.first is None:
            self.first = tokens

    def is_idle(self, now_s: float) -> bool:
        return now_s - self._asked_s > _IDLE_S

    def idle_at_s(self) -> float:
        return self._asked_s + _IDLE_S

    def measure(self, now_s: float) -> None:
        """A write begins: what was asked since the last one tells the rate. A burst counts at once, a lull slowly."""
        elapsed_s = _IDLE_S if self._since_s is None else now_s - self._since_s
        if self._requests:
            self._tokens_each = self._tokens / self._requests
        rate = self._requests / max(_SHORTEST_S, elapsed_s)
        weight = min(1.0, elapsed_s)
        self._per_s = max(rate, self._per_s + (rate - self._per_s) * weight)
        self._requests = self._tokens = 0
        self._since_s = now_s

    def want(self, running: int, now_s: float) -> Amounts:
        """To have in hand, as measured."""
        if self.is_idle(now_s):
            return NOTHING if self.first is None else Amounts(1, self.first, running + 1)
        ahead = self._per_s * self._ahead_s
        return Amounts(
            self._denied_requests + ceil(ahead),
            self._denied_tokens + ceil(ahead * self._tokens_each),
            running + self._denied_requests + ceil(self._per_s * _SLOT_S),
        )

    def served(self) -> None:
        """A lease came for those who waited: they ask again."""
        self.first = None
        self._denied_requests = self._denied_tokens = 0
