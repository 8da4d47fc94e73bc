"""The pure decision at the door: can this request begin, and end, before its deadline?"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, inf
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from penstock.contract.names import Lane
from services.router.admission.queue_position import Arriving, Crowd, Line, Place, in_mailbox, in_pool, spare
from services.router.admission.service_curve import Flow

__all__ = [
    "Pool",
    "Prospect",
    "SlotPace",
    "bears",
    "begins_s",
    "latest_s",
    "retry_after_s",
    "without_guesses",
]

_AT_ONCE_S: Final = 0.1
"""Who waits no longer than this is never refused: how long an answer takes is the application's own affair."""
_MARGIN_S: Final = 0.5
"""From a quota's return to the call: the lease, the pull, the way to the provider."""
_MARGIN_SHARE: Final = 0.05
"""Of the wait: what a forecast is wrong by grows with how far it looks."""
_LEAST_RETRY_S: Final = 0.5


class SlotPace(Struct, frozen=True):
    """One lane of a role, over all its workers."""

    slots: int
    per_s: float
    """Requests that all slots together bring to an end; infinite where nobody knows yet."""


class Pool(Struct, frozen=True):
    """Quotas, and who lives on them."""

    crowd: Crowd
    flow: Flow


class Prospect(Struct, frozen=True):
    """All that is known of a role."""

    role: str
    lanes: Mapping[Lane, SlotPace]
    longest_s: float
    """What nearly every request stays within, once it has begun."""
    pools: tuple[Pool, ...] = ()

    @property
    def crowd(self) -> tuple[str, ...]:
        """All roles that can delay each other."""
        return self.pools[-1].crowd.roles if self.pools else (self.role,)


def without_guesses(prospect: Prospect) -> Prospect:
    """By what is known alone: nothing was spent since the last beats."""
    pools = tuple(
        replace(pool, crowd=replace(pool.crowd, calling=max(0.0, pool.crowd.calling), unseen=0.0))
        for pool in prospect.pools
    )
    return replace(prospect, pools=pools)


def begins_s(
    prospect: Prospect, line: Line, place: Place, arriving: Arriving, counted_s: float, passed: int = 0
) -> float:
    """When a request that comes now begins, on the router's monotonic clock; infinite: nobody knows.

    `counted_s`: when the mailboxes were counted. `passed`: so many of higher ranks bear it that this one goes first.
    The slots and each pool of quotas set a bound of their own; the last one counts.
    """
    latest_s = counted_s
    pace = prospect.lanes[place.lane]
    turns = in_mailbox(prospect.role, line, place, arriving, passed)
    if pace.per_s < inf and turns.standing > pace.slots:
        latest_s += turns.begins_after_s(lambda turn: max(0.0, turn - pace.slots) / pace.per_s)
    for pool in prospect.pools:
        turns = in_pool(prospect.role, line, place, arriving, pool.crowd, passed)
        after_s = turns.begins_after_s(pool.flow.begins_after(counted_s))
        latest_s = max(latest_s, counted_s + after_s)
    return latest_s


def latest_s(now_s: float, longest_s: float, left_s: float) -> float:
    """The last instant at which one that comes now may begin: as `retry_after_s` reckons."""
    return now_s + (left_s - longest_s - _MARGIN_S) / (1 + _MARGIN_SHARE)


def bears(
    prospect: Prospect, line: Line, place: Place, counted_s: float, until_s: float, passed: int = 0
) -> float:
    """How many more may go before a request that comes now, if it shall begin by `until_s`.

    Whoever is there counts as before it, but for those it has `passed`.
    """
    pace = prospect.lanes[place.lane]
    there = line.queued(prospect.role, place.lane) + 1
    higher = there - 1 - line.ahead(prospect.role, place.lane, place.rank)
    found = inf
    if pace.per_s < inf:
        found = spare(pace.slots + pace.per_s * (until_s - counted_s), there - passed, there - higher, place)
    for pool in prospect.pools:
        crowd = pool.crowd
        all_there = sum(line.queued(role, place.lane) for role in crowd.roles) + 1
        waiting = max(1.0, all_there - passed - crowd.calling + crowd.unseen)
        found = min(found, spare(pool.flow.begun_by(until_s), waiting, all_there - higher, place))
    return found


def retry_after_s(wait_s: float, longest_s: float, left_s: float) -> float | None:
    """None: admitted. Else in how many seconds a request with as much time, `left_s`, would be, if the line stands as
    it does now.
    """
    if wait_s <= _AT_ONCE_S or wait_s == inf:
        return None
    missing_s = wait_s * (1 + _MARGIN_SHARE) + _MARGIN_S + longest_s - left_s
    if missing_s <= 0:
        return None
    return max(_LEAST_RETRY_S, ceil(min(missing_s, wait_s) * 10) / 10)
