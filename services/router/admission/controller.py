"""The door: what cannot be served before its deadline is refused at once, and told when to come back (C3, B4).

Whoever is let in by one router is unknown to the others until the mailboxes are counted again, a second later at most.
Until then each takes the others to let in as much as itself: they draw from one stream.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from penstock.bus.clock import Clock
from penstock.contract import subjects
from penstock.contract.subjects import WorkAddress
from penstock.contract.work import ChatWork
from services.router.admission.arrival_rates import Arrivals, Visits
from services.router.admission.capacity import Capacity
from services.router.admission.deadline_slack import Slack
from services.router.admission.forecast import Counted
from services.router.admission.policy import (
    Prospect,
    bears,
    begins_s,
    latest_s,
    retry_after_s,
    without_guesses,
)
from services.router.admission.queue_position import Place, passed_over
from services.router.queues.backlog import Backlog
from services.router.queues.priority import rank_of
from services.router.routing.decide import Refused, Routed

__all__ = ["Door", "Foreseen", "admitted"]

_NEWS_S: Final = 2.0
"""Whoever is refused only for what may have been spent since the last beats comes back when the next ones are here."""


class Foreseen(Struct, frozen=True):
    wait_s: float
    """Until the request begins; infinite where that is not known."""
    retry_after_s: float | None
    """None: it is let in."""
    counted_s: float | None = None
    """When the mailboxes were counted by which this was foreseen."""


class Door:
    """Asks nobody: it knows the workers' last beats, the last count of the mailboxes, and what it let in since."""

    def __init__(self, capacity: Capacity, backlog: Backlog, clock: Clock) -> None:
        self._capacity = capacity
        self._backlog = backlog
        self._clock = clock
        self._arrivals = Arrivals()
        self._visits = Visits()
        self._slack = Slack()

    def foresee(self, work: ChatWork) -> Foreseen:
        """Without knowledge everybody is let in."""
        known = self._known(work.role)
        if known is None:
            return Foreseen(0.0, None)
        prospect, counted_s, now_s = known
        self._arrivals.advance(now_s)
        place = self._place(work, now_s)
        left_s = (work.deadline_ms - self._clock.unix_ms()) / 1000

        def seen(prospect: Prospect, passed: int = 0) -> tuple[float, float | None]:
            begin_s = begins_s(prospect, self._backlog, place, self._arrivals, counted_s, passed)
            wait_s = max(0.0, begin_s - now_s)
            return wait_s, retry_after_s(wait_s, prospect.longest_s, left_s)

        passed = 0
        wait_s, again_s = seen(prospect)
        if again_s is not None and (passed := self._passes(prospect, place, now_s)):
            wait_s, again_s = seen(prospect, passed)
        if again_s is not None and again_s > _NEWS_S and seen(without_guesses(prospect), passed)[1] is None:
            again_s = _NEWS_S
        return Foreseen(wait_s, again_s, counted_s)

    def _known(self, role: str) -> tuple[Prospect, float, float] | None:
        """Of a role, when the mailboxes were counted, and now."""
        counted_s = self._backlog.counted_s
        if counted_s is None:
            return None
        now_s = self._clock.monotonic_s()
        prospect = self._capacity.prospect(role, Counted(counted_s, self._backlog.left_since), now_s)
        return None if prospect is None else (prospect, counted_s, now_s)

    def _place(self, work: ChatWork, now_s: float) -> Place:
        """Whoever is alone in the mailbox leaves room for nobody, whatever the rank; unless others came lately."""
        flow = subjects.flow(work.account, work.user)
        own = self._backlog.of_flow(work.role, work.lane, flow)
        alone = self._visits.alone(work.role, work.lane, flow, now_s) and own == self._backlog.known(
            work.role, work.lane
        )
        return Place(work.lane, 0 if alone else rank_of(own))

    def _passes(self, prospect: Prospect, place: Place, now_s: float) -> int:
        """How many in its mailbox one of the first rank may overtake: none, if one of them could come too late."""
        if place.rank > 0 or place.lane != "interactive":
            return 0
        if not self._slack.bears(prospect.crowd, self._backlog.routers, now_s):
            return 0
        return passed_over(prospect.role, self._backlog, place, prospect.lanes[place.lane].slots)

    def let_in(self, work: ChatWork) -> WorkAddress:
        """Its place, by how much its user has in the mailbox already (C6); counted from now on.

        It is to be `stored`, or to be given back.
        """
        flow = subjects.flow(work.account, work.user)
        rank = rank_of(self._backlog.of_flow(work.role, work.lane, flow))
        if work.lane == "interactive":
            self._promise(work, rank)
        address = WorkAddress(work.role, work.lane, rank, flow)
        self._backlog.reserve(address)
        return address

    def _promise(self, work: ChatWork, rank: int) -> None:
        """It can bear so many more before it; and those behind it one less. Nobody overtakes the only role's first."""
        known = self._known(work.role)
        if known is None:
            return
        prospect, counted_s, now_s = known
        crowd, routers = prospect.crowd, self._backlog.routers
        if rank > 0 or len(crowd) > 1:
            left_s = (work.deadline_ms - self._clock.unix_ms()) / 1000
            until_s = latest_s(now_s, prospect.longest_s, left_s)
            passed, place = 0, Place(work.lane, rank)
            if rank == 0:
                passed = passed_over(work.role, self._backlog, place, prospect.lanes[work.lane].slots)
                self._slack.overtook(crowd, routers if passed else 0)
            if until_s > now_s:
                bearing = bears(prospect, self._backlog, place, counted_s, until_s, passed)
                self._slack.promised(crowd, rank, bearing, until_s)
        self._slack.came(crowd, rank, routers)

    def stored(self, address: WorkAddress) -> None:
        self._arrivals.came(address, self._backlog.routers, self._clock.monotonic_s())
        self._backlog.stored(address)

    def give_back(self, address: WorkAddress) -> None:
        """Who was let in was refused after all."""
        self._backlog.give_back(address)
        known = self._known(address.role)
        if known is not None and address.lane == "interactive":
            self._slack.came(known[0].crowd, address.rank, -self._backlog.routers)


def admitted(routed: Routed, foreseen: Foreseen) -> Routed | Refused:
    """Nothing was accepted yet: the refusal is the first the application hears."""
    if foreseen.retry_after_s is None:
        return routed
    work = routed.work
    return Refused(
        code="overloaded",
        message=(
            f"the role {work.role} could begin with this in {foreseen.wait_s:.1f} s, too late for its deadline; "
            f"try again in {foreseen.retry_after_s:g} s, or give it more time"
        ),
        reply_to=work.reply_to,
        retry_after_s=foreseen.retry_after_s,
    )
