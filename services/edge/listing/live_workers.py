"""Live workers and their roles, from their heartbeats."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from penstock.contract.presence import Presence

__all__ = ["LiveWorkers"]

_TTL_S: Final = 10.0
"""Five heartbeats."""
_MOST: Final = 1_000
"""Upper bound on workers, against forged heartbeats."""


class _Worker(Struct, frozen=True):
    roles: frozenset[str]
    withdrawn: frozenset[str]
    until_s: float


class LiveWorkers:
    """Times are monotonic seconds."""

    def __init__(self) -> None:
        self._workers: dict[str, _Worker] = {}

    def observe(self, instance: str, presence: Presence | None, now_s: float) -> None:
        """None: the instance has stopped."""
        self._workers.pop(instance, None)
        if presence is None or not presence.roles:
            return
        if len(self._workers) >= _MOST:
            self._workers.pop(next(iter(self._workers)))
        self._workers[instance] = _Worker(
            frozenset(status.role for status in presence.roles),
            frozenset(presence.withdrawn_models),
            now_s + _TTL_S,
        )

    def roles(self, now_s: float) -> frozenset[str]:
        """The roles that a live worker serves."""
        return frozenset().union(*(worker.roles for worker in self._living(now_s)))

    def withdrawn_models(self, now_s: float) -> frozenset[str]:
        """Models that every live worker found withdrawn by their provider."""
        withdrawn = [worker.withdrawn for worker in self._living(now_s)]
        return withdrawn[0].intersection(*withdrawn[1:]) if withdrawn else frozenset()

    def _living(self, now_s: float) -> list[_Worker]:
        return [worker for worker in self._workers.values() if now_s <= worker.until_s]
