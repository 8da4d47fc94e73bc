"""How many requests get their turn before one that comes now: those ahead, those beside, those that will overtake."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, inf
from typing import Final, Protocol

from msgspec import Struct

from penstock.contract.names import LANES, RANKS, Lane

__all__ = ["Arriving", "Crowd", "Line", "Place", "Turns", "in_mailbox", "in_pool", "passed_over", "spare"]

_EVERY: Final = 8
"""Of so many turns of a full mailbox each rank has at least one: `penstock/runtime/consumer/scheduler.py`."""
_PART: Final = (1.0, 0.9, 0.8, 0.7)
"""Of what can be served in time, how much a rank may fill: whoever has much in the line leaves room for others."""
_ONE_IN: Final = 100
"""So many in a line stand for one more. Where a quota ends for most of a minute, each one let in too many is one too
late; found in `tests/property/test_admission_simulated.py`."""
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
    unseen: float = 0.0
    """How many may have come or gone between the moments at which beats and mailboxes were counted."""
    batch_share: float = 1.0
    """How many requests of the batch lane get a turn for each of the other lane, while both wait."""
    batch_per_s: float | None = None
    """Where batch leaves a reserve: how many of it go all the same while the other lane waits. None: it leaves none."""


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
            overtaking = self.overtaking_per_s * found_s
            if overtaking < 1:  # nobody goes first by a part of itself
                break
            turn = min(self.most, self.standing + overtaking)
            again_s = after_s(max(self.standing, turn))
            if again_s <= found_s:
                break
            found_s = again_s
        return found_s


def passed_over(role: str, line: Line, place: Place, slots: int) -> int:
    """How many of higher ranks have their turn later, though they stand there.

    Those in the hands of workers do not, nor those whose rank has its turn among EVERY meanwhile.
    """
    before = line.ahead(role, place.lane, place.rank)
    behind = line.queued(role, place.lane) - before
    higher = len(RANKS) - 1 - place.rank
    if behind <= slots or higher == 0:
        return 0
    return max(0, behind - slots - higher * ceil((before + 1) / (_EVERY - higher)))


def spare(turns: float, there: float, lower: float, place: Place) -> float:
    """Of so many turns, those that are left when all who are there had theirs.

    When those of its own and `lower` ranks had theirs, then, if that leaves less: meanwhile more of higher ranks come,
    and each has one of EVERY.
    """
    higher = len(RANKS) - 1 - place.rank
    return min(turns - there, turns * (1 - higher / _EVERY) - lower)


def in_mailbox(role: str, line: Line, place: Place, arriving: Arriving, passed: int = 0) -> Turns:
    """Before the slots of its role and lane.

    Everybody there counts as ahead, higher ranks too: they were promised their turn. What keeps room for lower ranks is
    that higher ones are let into a part of the line only. `passed`: so many are known to bear it that this one goes
    first.
    """
    standing = _standing(line.queued(role, place.lane) - passed, place.rank, 0.0)
    return Turns(standing, *_overtaking(role, line, place, arriving, standing))


def in_pool(role: str, line: Line, place: Place, arriving: Arriving, crowd: Crowd, passed: int = 0) -> Turns:
    """Before the quotas that all of the crowd live on."""
    there = {lane: sum(line.queued(each, lane) for each in crowd.roles) for lane in LANES}
    if place.lane == "interactive":
        standing = _standing(there["interactive"] - passed - crowd.calling, place.rank, crowd.unseen)
        if crowd.batch_per_s is None:
            standing += min(there["batch"], standing * crowd.batch_share)
        per_s, most = _overtaking(role, line, place, arriving, standing)
        if there["batch"] and crowd.batch_per_s is not None:
            per_s, most = per_s + crowd.batch_per_s, most + there["batch"]
        return Turns(standing, per_s, most)
    standing = _standing(there["batch"] + there["interactive"] - crowd.calling, place.rank, crowd.unseen)
    per_s, most = _overtaking(role, line, place, arriving, there["batch"] + 1)
    per_s += sum(arriving.per_s(each, "interactive", rank) for each in crowd.roles for rank in RANKS)
    most = most * (1 + 1 / crowd.batch_share) if crowd.batch_share > 0 else inf
    return Turns(standing, per_s, max(standing, most))


def _standing(there: float, rank: int, unseen: float) -> float:
    """The turn of one behind so many; but nobody is nobody."""
    if there <= 0:
        return 1.0
    return there / _PART[rank] + there // _ONE_IN + min(there, unseen) + 1


def _overtaking(
    role: str, line: Line, place: Place, arriving: Arriving, standing: float
) -> tuple[float, float]:
    """How many of lower ranks come a second, and the most that can go first."""
    lane, rank = place.lane, place.rank
    if rank == 0:
        return 0.0, standing
    own = line.ahead(role, lane, rank) - line.ahead(role, lane, rank - 1)
    per_s = sum(arriving.per_s(role, lane, each) for each in range(rank))
    return per_s, max(standing, (own + 1) * _EVERY)
