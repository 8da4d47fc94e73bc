"""How many requests come a second to each place, lately: what will overtake whoever waits behind them."""

from __future__ import annotations

from math import exp, inf
from typing import Final

from penstock.contract.subjects import WorkAddress

__all__ = ["REMEMBERED_S", "Arrivals", "Visits"]

REMEMBERED_S: Final = 30.0


class Arrivals:
    """Requests let in per second and place, forgotten slowly."""

    def __init__(self) -> None:
        self._weights: dict[tuple[str, str, int], tuple[float, float]] = {}
        """And when it was worth that; it fades when it is looked at."""
        self._now_s = 0.0

    def came(self, address: WorkAddress, routers: int, now_s: float) -> None:
        """One here; as many at each of the other routers."""
        self.advance(now_s)
        place = (address.role, address.lane, address.rank)
        self._weights[place] = (self._weight(place) + routers, self._now_s)

    def advance(self, now_s: float) -> None:
        """Let time pass."""
        self._now_s = max(now_s, self._now_s)

    def per_s(self, role: str, lane: str, rank: int) -> float:
        return self._weight((role, lane, rank)) / REMEMBERED_S

    def _weight(self, place: tuple[str, str, int]) -> float:
        weight, at_s = self._weights.get(place, (0.0, self._now_s))
        return weight * exp((at_s - self._now_s) / REMEMBERED_S)


class Visits:
    """Whether more than one flow asks for a role, be they let in or not."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], tuple[str, float]] = {}
        """Who asked last, and when last it was somebody else."""

    def alone(self, role: str, lane: str, flow: str, now_s: float) -> bool:
        """It asks now; nobody else did lately."""
        last, other_s = self._last.get((role, lane), (flow, -inf))
        if last != flow:
            other_s = now_s
        self._last[role, lane] = (flow, other_s)
        return now_s - other_s > REMEMBERED_S
