"""How many requests get their turn before one that comes now: those ahead, those beside, those that will overtake."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final, Protocol

from msgspec import Struct

from schemas.names import LANES, RANKS, Lane

__all__ = ["Arriving", "Crowd", "Line", "Place", "Turns", "in_mailbox", "in_pool"]

_EVERY: Final = 8
"""Of so many turns of a full mailbox each rank has at least one, and each further one a fifth of what the first has:
`penstock/pull_order.py`."""
_BESIDE: Final = 0.2
_ROUNDS: Final = 20
"""Who is overtaken at nine tenths of the pace is then foreseen to within an eighth of the wait."""


class Line(Protocol):
    """How many stand where, those that run included."""

    def queued(self, role: str, lane: str) -> int: ...
    def ahead(self, role: str, lane: str, rank: int) -> int:
        """Of the first ranks up to this one."""


class Arriving(Protocol):
    def per_s(self, role: str, lane: str, rank: int) -> float:
        """How many requests were let in a second, lately."""


class Place(Struct, frozen=True):
    """Where in the mailbox of its role a request would go."""

    lane: Lane
    rank: int


class Crowd(Struct, frozen=True):
    """Those who live on the same quotas."""

    roles: tuple[str, ...]
    calling: float = 0.0
    """How many of them have passed the quota, and still stand in their mailboxes, when the workers last spoke; less
    those that came and went between that and the count."""
    batch_share: float = 1.0
    """How many requests of the batch lane get a turn for each of the other lane, while both wait."""


class Turns(Struct, frozen=True):
    """The request's own turn is the last of them."""

    standing: float
    """By who is there now."""
    overtaking_per_s: float = 0.0
    """Who comes later and goes first."""
    most: float = inf
    """More than this cannot go before it, however many come."""

    def begins_after_s(self, after_s: Callable[[float], float]) -> float:
        """`after_s`: in how many seconds the n-th turn comes. More overtake while the request waits, and it waits
        longer for them: the rounds come near to where that ends, from below.
        """
        found_s = after_s(self.standing)
        if self.overtaking_per_s <= 0:
            return found_s
        for _ in range(_ROUNDS):
            turn = min(self.most, self.standing + self.overtaking_per_s * found_s)
            again_s = after_s(max(self.standing, turn))
            if again_s <= found_s:
                break
            found_s = again_s
        return found_s


def in_mailbox(role: str, line: Line, place: Place, arriving: Arriving) -> Turns:
    """Before the slots of its role and lane."""
    lane, rank = place.lane, place.rank
    own = line.ahead(role, lane, rank)
    lower = line.ahead(role, lane, rank - 1) if rank else 0
    beside = 0.0
    for each in RANKS[rank + 1 :]:
        there = line.ahead(role, lane, each) - line.ahead(role, lane, each - 1)
        beside += min(there, (own + 1) * _BESIDE)
    standing = own + 1 + beside
    return Turns(
        standing,
        sum(arriving.per_s(role, lane, each) for each in range(rank)),
        max(standing, (own - lower + 1) * _EVERY),
    )


def in_pool(role: str, line: Line, place: Place, arriving: Arriving, crowd: Crowd) -> Turns:
    """Before the quotas that all of the crowd live on."""
    mine = in_mailbox(role, line, place, arriving)
    others = {
        lane: sum(line.queued(each, lane) for each in crowd.roles if (each, lane) != (role, place.lane))
        for lane in LANES
    }
    if place.lane == "interactive":
        standing = max(1.0, mine.standing + others["interactive"] - crowd.calling)
        standing += min(others["batch"], standing * crowd.batch_share)
        return Turns(standing, mine.overtaking_per_s, max(standing, mine.most + others["interactive"]))
    standing = max(1.0, mine.standing + others["batch"] + others["interactive"] - crowd.calling)
    later = sum(arriving.per_s(each, "interactive", rank) for each in crowd.roles for rank in RANKS)
    batch = mine.most if mine.overtaking_per_s else mine.standing
    most = (batch + others["batch"]) * (1 + 1 / crowd.batch_share) if crowd.batch_share > 0 else inf
    return Turns(standing, mine.overtaking_per_s + later, max(standing, most))
