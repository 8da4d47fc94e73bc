"""Admission controller: forecasts when a request would start, and counts the admitted ones (C3, B4).

A request admitted by another router is unknown here until the next count of the mailboxes, at most a second later.
Until then each other router is taken to admit as much as this one: they draw from one stream.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from penstock.bus.clock import Clock
from penstock.contract import subjects
from penstock.contract.subjects import WorkAddress
from penstock.contract.work import ChatWork
from services.router.admission.arrival_rates import ArrivalRates, SoleUserDetector
from services.router.admission.capacity import Capacity
from services.router.admission.deadline_slack import DeadlineSlack
from services.router.admission.forecast import BacklogCount
from services.router.admission.queue_position import LaneRank, overtakable
from services.router.admission.start_time import (
    RoleForecast,
    headroom,
    latest_start_s,
    retry_after_s,
    start_time_s,
    without_estimates,
)
from services.router.admission.wait_estimate import NO_WAIT, WaitEstimate, estimate_wait
from services.router.queues.backlog import Backlog, rank_of

__all__ = ["AdmissionController", "AdmissionForecast"]

_NO_ARRIVALS: Final = ArrivalRates()
_RECHECK_S: Final = 2.0
"""Retry delay, in seconds, of a rejection that rests only on estimates: by then the next heartbeats are here."""


class AdmissionForecast(Struct, frozen=True):
    wait_s: float
    """Seconds until the request starts; infinite where that is not known."""
    retry_after_s: float | None
    """None: the request is admitted."""
    counted_s: float | None = None
    """When the mailboxes were counted on which this forecast rests."""
    estimate: WaitEstimate | None = None
    """None: no heartbeat or count is known, or the request is not admitted."""


class AdmissionController:
    """Decides without I/O, from the latest heartbeats, the latest count of the mailboxes, and its own admissions."""

    def __init__(self, capacity: Capacity, backlog: Backlog, clock: Clock) -> None:
        self._capacity = capacity
        self._backlog = backlog
        self._clock = clock
        self._arrivals = ArrivalRates()
        self._sole_users = SoleUserDetector()
        self._deadline_slack = DeadlineSlack()

    def forecast(self, work: ChatWork) -> AdmissionForecast:
        """Forecast the start of `work`. Without a heartbeat or a count every request is admitted."""
        known = self._known(work.role)
        if known is None:
            return AdmissionForecast(0.0, None)
        role, counted_s, now_s = known
        self._arrivals.advance(now_s)
        at = self._lane_rank(work, now_s)
        left_s = (work.deadline_ms - self._clock.unix_ms()) / 1000

        def decide(role: RoleForecast, overtaken: int = 0) -> tuple[float, float | None]:
            start_s = start_time_s(role, self._backlog, at, self._arrivals, counted_s, overtaken)
            wait_s = max(0.0, start_s - now_s)
            return wait_s, retry_after_s(wait_s, role.longest_s, left_s)

        overtaken = 0
        wait_s, retry_s = decide(role)
        if retry_s is not None and (overtaken := self._overtakable(role, at, now_s)):
            wait_s, retry_s = decide(role, overtaken)
        if (
            retry_s is not None
            and retry_s > _RECHECK_S
            and decide(without_estimates(role), overtaken)[1] is None
        ):
            retry_s = _RECHECK_S
        estimate = self._estimate(work, at, wait_s) if retry_s is None else None
        return AdmissionForecast(wait_s, retry_s, counted_s, estimate)

    def reserve(self, work: ChatWork) -> WorkAddress:
        """Reserve a place in the mailbox, in the rank for the number of requests its user has queued (C6).

        It counts from now on, and must be committed or released.
        """
        flow = subjects.flow(work.account, work.user)
        rank = rank_of(self._backlog.of_flow(work.role, work.lane, flow))
        if work.lane == "interactive":
            self._record_deadline_slack(work, rank)
        address = WorkAddress(work.role, work.lane, rank, flow)
        self._backlog.reserve(address)
        return address

    def commit(self, address: WorkAddress) -> None:
        """The reserved request is stored in its mailbox."""
        self._arrivals.record_arrival(address, self._backlog.routers, self._clock.monotonic_s())
        self._backlog.commit(address)

    def release(self, address: WorkAddress) -> None:
        """The reserved request will not be stored."""
        self._backlog.release(address)
        known = self._known(address.role)
        if known is not None and address.lane == "interactive":
            self._deadline_slack.record_arrival(known[0].sharers, address.rank, -self._backlog.routers)

    def _known(self, role: str) -> tuple[RoleForecast, float, float] | None:
        """The forecast of a role, when the mailboxes were counted, and now."""
        counted_s = self._backlog.counted_s
        if counted_s is None:
            return None
        now_s = self._clock.monotonic_s()
        counted = BacklogCount(counted_s, self._backlog.departures_since)
        forecast = self._capacity.forecast(role, counted, now_s)
        return None if forecast is None else (forecast, counted_s, now_s)

    def _lane_rank(self, work: ChatWork, now_s: float) -> LaneRank:
        """Rank 0 for the sole recent user of a mailbox, who leaves room for no other user; else by its requests."""
        flow = subjects.flow(work.account, work.user)
        own = self._backlog.of_flow(work.role, work.lane, flow)
        alone = self._sole_users.record_call(work.role, work.lane, flow, now_s)
        alone = alone and own == self._backlog.observed(work.role, work.lane)
        return LaneRank(work.lane, 0 if alone else rank_of(own))

    def _estimate(self, work: ChatWork, at: LaneRank, wait_s: float) -> WaitEstimate | None:
        """`at`: the rank for admission, which is 0 for a sole user: later requests do not overtake it. `wait_s`: the
        forecast of admission, which has margins.
        """
        known = self._known(work.role)
        if known is None:
            return None
        role, counted_s, now_s = known
        if wait_s <= 0 and self._backlog.queued(work.role, work.lane) < role.lanes[work.lane].slots:
            return NO_WAIT
        own = self._backlog.of_flow(work.role, work.lane, subjects.flow(work.account, work.user))
        arrivals = self._arrivals if at.rank > 0 else _NO_ARRIVALS
        at = LaneRank(work.lane, rank_of(own))
        return estimate_wait(role, self._backlog, at, arrivals, counted_s, now_s)

    def _overtakable(self, role: RoleForecast, at: LaneRank, now_s: float) -> int:
        """How many queued requests one of rank 0 may overtake: none if one of them could miss its deadline."""
        if at.rank > 0 or at.lane != "interactive":
            return 0
        if self._deadline_slack.headroom(role.sharers, now_s) < self._backlog.routers:
            return 0
        return overtakable(role.role, self._backlog, at, role.lanes[at.lane].slots)

    def _record_deadline_slack(self, work: ChatWork, rank: int) -> None:
        """Record how many more requests may start ahead of this one before it misses its deadline, and take one from
        every lower-priority request. Rank 0 of a role that shares no quota is never overtaken.
        """
        known = self._known(work.role)
        if known is None:
            return
        role, counted_s, now_s = known
        sharers, routers = role.sharers, self._backlog.routers
        if rank > 0 or len(sharers) > 1:
            left_s = (work.deadline_ms - self._clock.unix_ms()) / 1000
            until_s = latest_start_s(now_s, role.longest_s, left_s)
            overtaken, at = 0, LaneRank(work.lane, rank)
            if rank == 0:
                overtaken = overtakable(work.role, self._backlog, at, role.lanes[work.lane].slots)
                self._deadline_slack.record_overtaking(sharers, routers if overtaken else 0)
            if until_s > now_s:
                spare = headroom(role, self._backlog, at, counted_s, until_s, overtaken)
                self._deadline_slack.record_admission(sharers, rank, spare, until_s)
        self._deadline_slack.record_arrival(sharers, rank, routers)
