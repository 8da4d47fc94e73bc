"""The estimate that an accepted request reports: how many requests start before it, and when it starts.

Admission decides with margins, because a missed deadline costs more than a retry; this estimate has none.
"""

from __future__ import annotations

from math import inf

from msgspec import Struct

from services.router.admission.arrival_rates import ArrivalRates
from services.router.admission.queue_position import (
    CYCLE,
    BacklogView,
    LaneRank,
    QueuePosition,
    expected_for_quota,
    expected_in_mailbox,
)
from services.router.admission.start_time import RoleForecast

__all__ = ["NO_WAIT", "WaitEstimate", "estimate_wait", "starts_before"]


class WaitEstimate(Struct, frozen=True):
    """When a request that arrives now is expected to start."""

    position: int
    """Requests that are expected to start before it."""
    wait_s: float | None
    """Seconds until it starts; None: not known."""


NO_WAIT = WaitEstimate(0, 0.0)


def estimate_wait(
    forecast: RoleForecast,
    backlog: BacklogView,
    at: LaneRank,
    arrivals: ArrivalRates,
    counted_s: float,
    now_s: float,
) -> WaitEstimate:
    """The slots and each pool of quotas give a start; the latest applies.

    `at` has the rank with which the request is enqueued. All instants are the router's monotonic seconds.
    """
    ahead = _starts_before(forecast.role, backlog, at)
    rate = forecast.lanes[at.lane]
    held = min(rate.slots, backlog.queued(forecast.role, at.lane))
    position = expected_in_mailbox(forecast.role, backlog, at, arrivals, max(ahead, held))
    waiting = max(0, round(position.base - 1) - rate.slots)
    if rate.per_s == inf and position.base > rate.slots:
        return WaitEstimate(waiting, None)  # no request has ended yet, so the service time is not known
    start_s = counted_s + _slot_delay_s(position, rate.slots, rate.per_s)
    for pool in forecast.pools:
        position = expected_for_quota(forecast.role, backlog, at, arrivals, pool.sharers, ahead)
        pool_start_s = counted_s + position.start_delay_s(pool.curve.delay_from(counted_s))
        if pool_start_s > max(start_s, now_s):
            start_s, waiting = pool_start_s, round(position.base - 1)
    if start_s <= now_s:
        return NO_WAIT
    return WaitEstimate(waiting, start_s - now_s if start_s < inf else None)


def starts_before(own_or_lower: int, higher: int) -> int:
    """How many requests start before one that is enqueued now, with `own_or_lower` requests of its own and lower ranks
    and `higher` of higher ones: these have one of every `CYCLE` turns.
    """
    return own_or_lower + min(higher, own_or_lower // (CYCLE - 1))


def _starts_before(role: str, backlog: BacklogView, at: LaneRank) -> int:
    ahead = backlog.ahead(role, at.lane, at.rank)
    return starts_before(ahead, backlog.queued(role, at.lane) - ahead)


def _slot_delay_s(position: QueuePosition, slots: int, per_s: float) -> float:
    if position.base <= slots:
        return 0.0
    return position.start_delay_s(lambda turn: max(0.0, turn - slots) / per_s)
