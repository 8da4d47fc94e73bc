"""The door: what cannot be served before its deadline is refused at once, and told when to come back (C3, B4).

Whoever is let in by one router is unknown to the others until the mailboxes are counted again, a second later at most.
Until then each takes the others to let in as much as itself: they draw from one stream.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from penstock.clock import Clock
from schemas import subjects
from schemas.subjects import WorkAddress
from schemas.work import ChatWork
from services.router.admission import begins_s, retry_after_s, without_guesses
from services.router.arrivals import Arrivals
from services.router.backlog import Backlog
from services.router.capacity import Capacity
from services.router.intake import Refused, Routed
from services.router.prospects import Counted
from services.router.ranking import rank_of
from services.router.turns import Place

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

    def foresee(self, work: ChatWork) -> Foreseen:
        """Without knowledge everybody is let in."""
        now_s = self._clock.monotonic_s()
        counted_s = self._backlog.counted_s
        if counted_s is None:
            return Foreseen(0.0, None)
        counted = Counted(counted_s, self._backlog.left_since)
        prospect = self._capacity.prospect(work.role, counted, now_s)
        if prospect is None:
            return Foreseen(0.0, None)
        self._arrivals.advance(now_s)
        place = self._place(work)
        begin_s = begins_s(prospect, self._backlog, place, self._arrivals, counted_s)
        wait_s = max(0.0, begin_s - now_s)
        left_s = (work.deadline_ms - self._clock.unix_ms()) / 1000
        again_s = retry_after_s(wait_s, prospect.longest_s, left_s)
        if again_s is not None and again_s > _NEWS_S:
            sure_s = begins_s(without_guesses(prospect), self._backlog, place, self._arrivals, counted_s)
            if retry_after_s(max(0.0, sure_s - now_s), prospect.longest_s, left_s) is None:
                again_s = _NEWS_S
        return Foreseen(wait_s, again_s, counted_s)

    def _place(self, work: ChatWork) -> Place:
        """Whoever is alone in the mailbox leaves room for nobody, whatever the rank."""
        own = self._backlog.of_flow(work.role, work.lane, subjects.flow(work.account, work.user))
        alone = own == self._backlog.known(work.role, work.lane)
        return Place(work.lane, 0 if alone else rank_of(own))

    def let_in(self, work: ChatWork) -> WorkAddress:
        """Its place, by how much its user has in the mailbox already (C6); counted from now on.

        It is to be `stored`, or to be given back.
        """
        flow = subjects.flow(work.account, work.user)
        rank = rank_of(self._backlog.of_flow(work.role, work.lane, flow))
        address = WorkAddress(work.role, work.lane, rank, flow)
        self._backlog.reserve(address)
        return address

    def stored(self, address: WorkAddress) -> None:
        self._arrivals.came(address, self._backlog.routers, self._clock.monotonic_s())
        self._backlog.stored(address)

    def give_back(self, address: WorkAddress) -> None:
        """Who was let in was refused after all."""
        self._backlog.give_back(address)


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
