"""Recent arrival rates per role, lane and rank: they predict how many requests will overtake a waiting one."""

from __future__ import annotations

from math import exp, inf
from typing import Final

from penstock.contract.subjects import WorkAddress

__all__ = ["MEMORY_S", "ArrivalRates", "SoleUserDetector"]

MEMORY_S: Final = 30.0
"""Time constant, in seconds, with which an arrival is forgotten."""


class ArrivalRates:
    """Admitted requests per second, with exponential decay."""

    def __init__(self) -> None:
        self._weights: dict[tuple[str, str, int], tuple[float, float]] = {}
        """Weight and the instant at which it had that value; it decays when it is read."""
        self._now_s = 0.0

    def record_arrival(self, address: WorkAddress, routers: int, now_s: float) -> None:
        """Count one request here, and as many at each of the other routers."""
        self._now_s = max(now_s, self._now_s)
        key = (address.role, address.lane, address.rank)
        self._weights[key] = (self._weight(key) + routers, self._now_s)

    def advance(self, now_s: float) -> None:
        """Let time pass."""
        self._now_s = max(now_s, self._now_s)

    def per_s(self, role: str, lane: str, rank: int) -> float:
        return self._weight((role, lane, rank)) / MEMORY_S

    def _weight(self, key: tuple[str, str, int]) -> float:
        weight, at_s = self._weights.get(key, (0.0, self._now_s))
        return weight * exp((at_s - self._now_s) / MEMORY_S)


class SoleUserDetector:
    """Detects that only one flow sends requests for a role, admitted or not."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], tuple[str, float]] = {}
        """The latest flow, and when a different flow last preceded it."""

    def record_call(self, role: str, lane: str, flow: str, now_s: float) -> bool:
        """Record a request of `flow`; returns whether no other flow has sent one lately."""
        last, other_s = self._last.get((role, lane), (flow, -inf))
        if last != flow:
            other_s = now_s
        self._last[role, lane] = (flow, other_s)
        return now_s - other_s > MEMORY_S
