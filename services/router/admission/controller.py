"""Admission controller: forecasts when a request would start, and counts the admitted ones (C3, B4).

A request admitted by another router is unknown here until the next count of the mailboxes, at most a second later.
Until then each other router is taken to admit as much as this one: they draw from one stream.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from penstock.bus.clock import Clock
from penstock.contract import subjects
from penstock.contract.subjects import WorkAddress
from penstock.contract.work import ChatWork
from penstock.runtime.heartbeat import HEARTBEAT_S
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
from services.router.queues.backlog import Backlog, MailboxCount
from services.router.queues.priority import AccountShare

__all__ = ["AdmissionController", "AdmissionForecast", "Arrival"]

_NO_ARRIVALS: Final = ArrivalRates()
_RECHECK_S: Final = HEARTBEAT_S + 0.5
"""Retry delay, in seconds, of a rejection that rests only on estimates: by then the next heartbeats are here, with half
a second for a process or a message that is late.
"""


class Arrival(Struct, frozen=True):
    """A request that arrives now, and where it would be queued: valid until the next request is decided."""

    flow: str
    mailbox: MailboxCount
    rank: int
    """The rank in which it is enqueued, as its user and account are due."""
    role: RoleForecast | None
    """None: no heartbeat or count is known."""
    counted_s: float
    """When the mailboxes were counted."""
    now_s: float


class AdmissionForecast(Struct, frozen=True):
    arrival: Arrival
    wait_s: float
    """Seconds until the request starts; infinite where that is not known."""
    retry_after_s: float | None
    """None: the request is admitted."""
    estimate: WaitEstimate | None = None
    """None: no heartbeat or count is known, or the request is not admitted."""


class AdmissionController:
    """Decides without I/O, from the latest heartbeats, the latest count of the mailboxes, and its own admissions."""

    def __init__(
        self,
        capacity: Capacity,
        backlog: Backlog,
        clock: Clock,
        weight_of: Callable[[str], float] = lambda _: 1.0,
    ) -> None:
        """`weight_of`: the weight of an account beside others."""
        self._capacity = capacity
        self._weight_of = weight_of
        self._backlog = backlog
        self._clock = clock
        self._arrivals = ArrivalRates()
        self._sole_users = SoleUserDetector()
        self._deadline_slack = DeadlineSlack()

    def forecast(self, work: ChatWork) -> AdmissionForecast:
        """Forecast the start of `work`. Without a heartbeat or a count every request is admitted."""
        arrival = self._arrival(work)
        role = arrival.role
        if role is None:
            return AdmissionForecast(arrival, 0.0, None)
        self._arrivals.advance(arrival.now_s)
        at = self._lane_rank(work, arrival)
        wait_s = self._wait_s(role, arrival, at)
        retry_s = None
        if wait_s > 0:
            wait_s, retry_s = self._decide(work, role, arrival, at, wait_s)
        estimate = None
        if retry_s is None:
            if wait_s <= 0 and arrival.mailbox.queued < role.lanes[work.lane].slots:
                estimate = NO_WAIT
            else:
                estimate = self._estimate(role, arrival, at)
        return AdmissionForecast(arrival, wait_s, retry_s, estimate)

    def reserve(self, work: ChatWork, arrival: Arrival | None = None) -> WorkAddress:
        """Reserve a place in the mailbox, in the rank that its user and account are due (C6).

        It counts from now on, and must be committed or released. `arrival`: that of its forecast; None: it has none.
        """
        if arrival is None:
            arrival = self._arrival(work)
        if arrival.role is not None and work.lane == "interactive":
            self._record_deadline_slack(work, arrival.role, arrival)
        address = WorkAddress(work.role, work.lane, arrival.rank, arrival.flow)
        self._backlog.reserve(address)
        return address

    def commit(self, address: WorkAddress) -> None:
        """The reserved request is stored in its mailbox."""
        self._arrivals.record_arrival(address, self._backlog.routers, self._clock.monotonic_s())
        self._backlog.commit(address)

    def release(self, address: WorkAddress) -> None:
        """The reserved request will not be stored."""
        self._backlog.release(address)
        role = self._role_forecast(address.role, self._clock.monotonic_s())
        if role is not None and address.lane == "interactive":
            self._deadline_slack.record_arrival(role.sharers, address.rank, -self._backlog.routers)

    def _arrival(self, work: ChatWork) -> Arrival:
        now_s = self._clock.monotonic_s()
        role = self._role_forecast(work.role, now_s)
        flow = subjects.flow(work.account, work.user)
        share = AccountShare(
            0 if role is None else role.lanes[work.lane].slots, self._weight_of(work.account)
        )
        rank = self._backlog.rank_for(work.role, work.lane, flow, share)
        mailbox = self._backlog.mailbox(work.role, work.lane)
        return Arrival(flow, mailbox, rank, role, self._backlog.counted_s or 0.0, now_s)

    def _role_forecast(self, role: str, now_s: float) -> RoleForecast | None:
        counted_s = self._backlog.counted_s
        if counted_s is None:
            return None
        return self._capacity.forecast(role, BacklogCount(counted_s, self._backlog.departures_since), now_s)

    def _lane_rank(self, work: ChatWork, arrival: Arrival) -> LaneRank:
        """Rank 0 for the sole recent user of a mailbox, who leaves room for no other user; else the one it gets."""
        mailbox, flow = arrival.mailbox, arrival.flow
        alone = self._sole_users.record_call(work.role, work.lane, flow, arrival.now_s)
        alone = alone and mailbox.flows.get(flow, 0) == mailbox.observed
        return LaneRank(work.lane, 0 if alone else arrival.rank)

    def _wait_s(self, role: RoleForecast, arrival: Arrival, at: LaneRank, overtaken: int = 0) -> float:
        start_s = start_time_s(role, self._backlog, at, self._arrivals, arrival.counted_s, overtaken)
        return max(0.0, start_s - arrival.now_s)

    def _decide(
        self, work: ChatWork, role: RoleForecast, arrival: Arrival, at: LaneRank, wait_s: float
    ) -> tuple[float, float | None]:
        """The wait, and the delay of a retry of a request that would start too late after `wait_s`."""
        left_s = self._left_s(work)
        retry_s = retry_after_s(wait_s, role.longest_s, left_s)
        overtaken = 0
        if retry_s is not None and (overtaken := self._overtakable(role, at, arrival.now_s)):
            wait_s = self._wait_s(role, arrival, at, overtaken)
            retry_s = retry_after_s(wait_s, role.longest_s, left_s)
        if retry_s is not None and retry_s > _RECHECK_S:
            least_s = self._wait_s(without_estimates(role), arrival, at, overtaken)
            if retry_after_s(least_s, role.longest_s, left_s) is None:
                retry_s = _RECHECK_S
        return wait_s, retry_s

    def _left_s(self, work: ChatWork) -> float:
        """Seconds until the deadline."""
        return (work.deadline_ms - self._clock.steady_ms(work.accepted_ms)) / 1000

    def _estimate(self, role: RoleForecast, arrival: Arrival, at: LaneRank) -> WaitEstimate:
        """`at`: the rank for admission, which is 0 for a sole user: later requests do not overtake it."""
        arrivals = self._arrivals if at.rank > 0 else _NO_ARRIVALS
        enqueued = LaneRank(at.lane, arrival.rank)
        return estimate_wait(role, self._backlog, enqueued, arrivals, arrival.counted_s, arrival.now_s)

    def _overtakable(self, role: RoleForecast, at: LaneRank, now_s: float) -> int:
        """How many queued requests one of rank 0 may overtake: none if one of them could miss its deadline."""
        if at.rank > 0 or at.lane != "interactive":
            return 0
        if self._deadline_slack.headroom(role.sharers, now_s) < self._backlog.routers:
            return 0
        return overtakable(role.role, self._backlog, at, role.lanes[at.lane].slots)

    def _record_deadline_slack(self, work: ChatWork, role: RoleForecast, arrival: Arrival) -> None:
        """Record how many more requests may start ahead of this one before it misses its deadline, and take one from
        every lower-priority request. Rank 0 of a role that shares no quota is never overtaken.
        """
        sharers, routers, rank, now_s = role.sharers, self._backlog.routers, arrival.rank, arrival.now_s
        if rank > 0 or len(sharers) > 1:
            until_s = latest_start_s(now_s, role.longest_s, self._left_s(work))
            overtaken, at = 0, LaneRank(work.lane, rank)
            if rank == 0:
                overtaken = overtakable(work.role, self._backlog, at, role.lanes[work.lane].slots)
                self._deadline_slack.record_overtaking(sharers, routers if overtaken else 0)
            if until_s > now_s:
                spare = headroom(role, self._backlog, at, arrival.counted_s, until_s, overtaken)
                self._deadline_slack.record_admission(sharers, rank, spare, until_s)
        self._deadline_slack.record_arrival(sharers, rank, routers)
