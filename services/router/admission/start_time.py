"""When a request starts, how many may start ahead of it, and the delay of a retry if it would start too late."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, inf
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from penstock.contract.names import Lane
from services.router.admission.arrival_rates import ArrivalRates
from services.router.admission.queue_position import (
    BacklogView,
    LaneRank,
    QuotaSharers,
    position_for_quota,
    position_in_mailbox,
    spare_turns,
)
from services.router.admission.service_curve import ServiceCurve

__all__ = [
    "QuotaPool",
    "RoleForecast",
    "SlotRate",
    "headroom",
    "latest_start_s",
    "retry_after_s",
    "start_time_s",
    "without_estimates",
]

_NO_WAIT_S: Final = 0.1
"""Longest wait that never leads to a rejection: the time for the answer itself is the application's concern."""
_MARGIN_S: Final = 0.5
"""Seconds from available quota to the call: the lease, the pull, the connection to the provider."""
_MARGIN_SHARE: Final = 0.05
"""Share of the wait that is added: the error of a forecast grows with its horizon."""
_LEAST_RETRY_S: Final = 0.5
"""Shortest retry delay, in seconds."""


class SlotRate(Struct, frozen=True):
    """The slots of one lane of a role, over all its workers."""

    slots: int
    per_s: float
    """Requests per second that all slots finish together; infinite where no service time is known."""


class QuotaPool(Struct, frozen=True):
    """Quotas, and the roles that share them."""

    sharers: QuotaSharers
    curve: ServiceCurve


class RoleForecast(Struct, frozen=True):
    """The capacity of a role, from the latest heartbeats of its workers."""

    role: str
    lanes: Mapping[Lane, SlotRate]
    longest_s: float
    """Service time that nearly every request stays within."""
    pools: tuple[QuotaPool, ...] = ()

    @property
    def sharers(self) -> tuple[str, ...]:
        """All roles that can delay each other."""
        return self.pools[-1].sharers.roles if self.pools else (self.role,)


def without_estimates(forecast: RoleForecast) -> RoleForecast:
    """`forecast` without the estimate of quota spent since the last heartbeats."""
    pools = tuple(
        replace(pool, sharers=replace(pool.sharers, calling=max(0.0, pool.sharers.calling), unobserved=0.0))
        for pool in forecast.pools
    )
    return replace(forecast, pools=pools)


def start_time_s(
    forecast: RoleForecast,
    backlog: BacklogView,
    at: LaneRank,
    arrivals: ArrivalRates,
    counted_s: float,
    overtaken: int = 0,
) -> float:
    """When a request that arrives now starts, on the router's monotonic clock; infinite if that is not known.

    `counted_s`: when the mailboxes were counted. `overtaken`: queued requests that tolerate starting after this one.
    The slots and each pool of quotas set a bound; the latest applies.
    """
    start_s = counted_s
    rate = forecast.lanes[at.lane]
    if rate.per_s < inf:
        position = position_in_mailbox(forecast.role, backlog, at, arrivals, overtaken)
        if position.base > rate.slots:
            start_s += position.start_delay_s(lambda turn: max(0.0, turn - rate.slots) / rate.per_s)
    for pool in forecast.pools:
        position = position_for_quota(forecast.role, backlog, at, arrivals, pool.sharers, overtaken)
        if position.overtaking_per_s <= 0:
            start_s = max(start_s, pool.curve.start_time_s(position.base))
        else:
            delay_s = position.start_delay_s(pool.curve.delay_from(counted_s))
            start_s = max(start_s, counted_s + delay_s)
    return start_s


def latest_start_s(now_s: float, longest_s: float, left_s: float) -> float:
    """The latest start of a request that arrives now, with the margins of `retry_after_s`."""
    return now_s + (left_s - longest_s - _MARGIN_S) / (1 + _MARGIN_SHARE)


def headroom(
    forecast: RoleForecast,
    backlog: BacklogView,
    at: LaneRank,
    counted_s: float,
    until_s: float,
    overtaken: int = 0,
) -> float:
    """How many more requests may start ahead of one that arrives now, if it is to start by `until_s`.

    All queued requests count as ahead, except those it has `overtaken`.
    """
    rate = forecast.lanes[at.lane]
    queued = backlog.queued(forecast.role, at.lane) + 1
    higher = queued - 1 - backlog.ahead(forecast.role, at.lane, at.rank)
    spare = inf
    if rate.per_s < inf:
        turns = rate.slots + rate.per_s * (until_s - counted_s)
        spare = spare_turns(turns, queued - overtaken, queued - higher, higher)
    for pool in forecast.pools:
        sharers = pool.sharers
        queued_of = backlog.queued_of(sharers.roles)
        all_queued = (queued_of.batch if at.lane == "batch" else queued_of.interactive) + 1
        waiting = max(1.0, all_queued - overtaken - sharers.calling + sharers.unobserved)
        spare = min(spare, spare_turns(pool.curve.started_by(until_s), waiting, all_queued - higher, higher))
    return spare


def retry_after_s(wait_s: float, longest_s: float, left_s: float) -> float | None:
    """None to admit; else the seconds after which a request with the same time left would be admitted.

    It assumes that the backlog stays as it is.
    """
    if wait_s <= _NO_WAIT_S or wait_s == inf:
        return None
    missing_s = wait_s * (1 + _MARGIN_SHARE) + _MARGIN_S + longest_s - left_s
    if missing_s <= 0:
        return None
    return max(_LEAST_RETRY_S, ceil(min(missing_s, wait_s) * 10) / 10)
