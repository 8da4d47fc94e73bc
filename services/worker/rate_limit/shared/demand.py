"""How much a worker should have in hand: what waits, and what will come in the next moment."""

from __future__ import annotations

from math import ceil
from typing import Final

from msgspec import Struct

from services.worker.rate_limit.record.lease_settings import NOTHING, Amounts

__all__ = ["GIVEN_BACK_S", "Demand"]

_SHORTEST_S: Final = 0.1
_IDLE_S: Final = 1.0
"""Who has not asked for so long gives back what it holds."""
GIVEN_BACK_S: Final = 1.5
"""Until what others hold is spent or given back, with the write that tells it."""
_SLOT_S: Final = 0.1
"""A place among the concurrent calls is needed at once or not at all; a few are reserved for the next ones."""


class _Need(Struct, frozen=True):
    tokens: int
    batch_only: bool
    """It is batch work, and leaves the reserve to others."""


class Demand:
    """Counts between two writes to the record."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s
        self._since_s: float | None = None
        self._asked_s = float("-inf")
        self._unsparing_s = float("-inf")
        """When somebody asked who may use the reserve."""
        self._requests = 0
        self._tokens = 0
        self._needs: dict[int, _Need] = {}
        """What was refused since the last grant, by who asked; who asked first stands first. Who did not say who it
        is counts each time, under a number below nothing.
        """
        self._unnamed = 0
        self._per_s = 0.0
        self._tokens_each = 0.0

    @property
    def first(self) -> int | None:
        """Tokens of the request that was refused first since the last grant; None: nobody waits."""
        return next((need.tokens for need in self._needs.values()), None)

    def before(self, waiter: int) -> int | None:
        """What has to be served before `waiter`: the first need, if that is another's. Nothing for who has no name."""
        if waiter == 0:
            return None
        for each, need in self._needs.items():
            return None if each == waiter else need.tokens
        return None

    def granted(self, tokens: int, now_s: float, waiter: int = 0, *, batch_only: bool = False) -> None:
        """A permit was given out."""
        self._asks(now_s, batch_only=batch_only)
        self._needs.pop(waiter, None)
        self._requests += 1
        self._tokens += tokens

    def refused(self, tokens: int, now_s: float, waiter: int = 0, *, batch_only: bool = False) -> None:
        """Somebody waits. Who is woken and still finds nothing will say so again."""
        self._asks(now_s, batch_only=batch_only)
        if waiter == 0:
            self._unnamed -= 1
        self._needs[waiter or self._unnamed] = _Need(tokens, batch_only)

    def withdrawn(self, waiter: int) -> bool:
        """It waits no longer. Returns whether others stood behind it, here or elsewhere."""
        was_first = next(iter(self._needs), None) == waiter
        self._needs.pop(waiter, None)
        return was_first

    def batch_only(self, now_s: float) -> bool:
        """Nobody asks here but batch work: it leases nothing of what it would leave free anyway."""
        lately = now_s - self._unsparing_s <= _IDLE_S
        return not lately and all(need.batch_only for need in self._needs.values())

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
            len(self._needs) + ceil(ahead),
            sum(need.tokens for need in self._needs.values()) + ceil(ahead * self._tokens_each),
            running + len(self._needs) + ceil(self._per_s * _SLOT_S),
        )

    def _asks(self, now_s: float, *, batch_only: bool) -> None:
        self._asked_s = now_s
        if not batch_only:
            self._unsparing_s = now_s

    def served(self) -> None:
        """A lease came for those who waited: they ask again."""
        self._needs.clear()
