"""The pure decision at the door: can this request be begun, and ended, before its deadline?"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, inf
from typing import Final, Protocol

from msgspec import Struct

from schemas.names import Lane
from services.router.flow import Flow

__all__ = ["Line", "Pool", "Prospect", "SlotPace", "begins_s", "retry_after_s"]

_AT_ONCE_S: Final = 0.1
"""Who waits no longer than this is never refused: how long an answer takes is the application's own affair."""
_MARGIN_S: Final = 0.5
"""From a quota's return to the call: the lease, the pull, the way to the provider."""
_MARGIN_SHARE: Final = 0.05
"""Of the wait: what a forecast is wrong by grows with how far it looks."""
_LEAST_RETRY_S: Final = 0.5
_ROUNDS: Final = 8
"""To find how many will have overtaken by then; more than the cap they cannot be."""


class Line(Protocol):
    """How many stand where."""

    def queued(self, role: str, lane: str) -> int:
        """In a mailbox, those that run included."""

    def ahead(self, role: str, lane: str, rank: int) -> int:
        """Of them, those that go before one of `rank`."""


class SlotPace(Struct, frozen=True):
    """One lane of a role, over all its workers."""

    slots: int
    per_s: float
    """Requests that all slots together bring to an end; infinite where nobody knows yet."""


class Pool(Struct, frozen=True):
    """Roles that live on the same quotas."""

    roles: tuple[str, ...]
    flow: Flow
    calling: float
    """Of what stands in their mailboxes: how many have been let through to a provider, and need no quota."""


class Prospect(Struct, frozen=True):
    """All that is known of a role."""

    role: str
    lanes: Mapping[Lane, SlotPace]
    longest_s: float
    """What nearly every request stays within, once it has begun."""
    pools: tuple[Pool, ...] = ()

    @property
    def batch_share(self) -> float:
        """How many requests of the batch lane may begin for each of the other lane, while both wait."""
        slots = self.lanes["interactive"].slots
        return self.lanes["batch"].slots / slots if slots else inf


def begins_s(
    prospect: Prospect, line: Line, lane: Lane, rank: int, arriving: Mapping[str, float], counted_s: float
) -> float:
    """When a request that comes now begins, on the router's monotonic clock; infinite: nobody knows.

    `arriving`: interactive requests per second, by role. `counted_s`: when the mailboxes were counted.
    """
    role = prospect.role
    pace = prospect.lanes[lane]
    ahead = line.ahead(role, lane, rank)
    over = max(0, ahead + 1 - pace.slots)
    latest_s = counted_s + (over / pace.per_s if over else 0.0)
    for pool in prospect.pools:
        mine = line.queued(role, lane)
        before = sum(line.queued(each, "interactive") for each in pool.roles)
        batch = sum(line.queued(each, "batch") for each in pool.roles)
        if lane == "interactive":
            waiting = max(0.0, before - mine + ahead - pool.calling) + 1
            at_s = pool.flow.begins_s(waiting + min(batch, waiting * prospect.batch_share))
        else:
            batch += ahead - mine
            per_s = sum(arriving.get(each, 0.0) for each in pool.roles)
            most = _most(batch + 1, before, prospect.batch_share)
            at_s = _overtaken_s(
                pool.flow, max(0.0, before + batch - pool.calling) + 1, most, per_s, counted_s
            )
        latest_s = max(latest_s, at_s)
    return latest_s


def _most(batch: float, before: float, share: float) -> float:
    """However many others come, batch work gets its share of the turns."""
    return max(batch + before, batch * (1 + 1 / share) if share > 0 else inf)


def _overtaken_s(flow: Flow, position: float, most: float, per_s: float, since_s: float) -> float:
    """When it begins if `per_s` requests a second that come later go first."""
    at_s = flow.begins_s(position)
    if per_s <= 0 or at_s == inf:
        return at_s
    for _ in range(_ROUNDS):
        further = min(most, position + per_s * max(0.0, at_s - since_s))
        found_s = flow.begins_s(further)
        if found_s <= at_s:
            return at_s
        at_s = found_s
    return flow.begins_s(max(position, most))


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
