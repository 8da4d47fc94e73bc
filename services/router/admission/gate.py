"""The door with eyes: nobody is refused by a count of the mailboxes that a newer one contradicts."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from penstock.contract import subjects
from penstock.contract.work import ChatWork
from services.router.admission.controller import Door, Foreseen, admitted
from services.router.queues.backlog_poller import Counting
from services.router.queues.byte_limits import OVERLOADED_RETRY_S, Room, parcel
from services.router.routing.decide import Refused, Routed

__all__ = ["Entrance", "Place"]


class Place:
    """In a mailbox, counted from the verdict on. Whoever leaves it (`with`) without having it stored gives it back."""

    def __init__(self, door: Door, room: Room, work: ChatWork) -> None:
        self._door = door
        self._room = room
        self._address = door.let_in(work)
        self._parcel = parcel(work, self._address.flow)
        self._stored = False
        room.reserve(self._parcel)

    @property
    def subject(self) -> str:
        return subjects.work(*self._address)

    def stored(self) -> None:
        """The work is in its mailbox."""
        self._stored = True
        self._door.stored(self._address)
        self._room.stored(self._parcel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._stored:
            self._door.give_back(self._address)
            self._room.give_back(self._parcel)


class Entrance:
    def __init__(self, door: Door, room: Room, counting: Counting) -> None:
        self._door = door
        self._room = room
        self._counting = counting

    async def admit(self, routed: Routed, *, accepted_before: bool) -> Place | Refused:
        """Nobody else is judged between the verdict and the place. Who was accepted before is not judged: it may be
        in its mailbox already.
        """
        if accepted_before:
            return Place(self._door, self._room, routed.work)
        outcome, _ = await self.look(routed)
        return outcome if isinstance(outcome, Refused) else Place(self._door, self._room, outcome.work)

    async def look(self, routed: Routed) -> tuple[Routed | Refused, Foreseen]:
        """What is said to this request now, and when it would begin; it gets no place.

        Asks the server only before a refusal, and then not more often than `Counting` does.
        """
        foreseen = self._door.foresee(routed.work)
        if foreseen.retry_after_s is not None and await self._counting.has_newer(foreseen.counted_s):
            foreseen = self._door.foresee(routed.work)
        return self._with_room(admitted(routed, foreseen)), foreseen

    def _with_room(self, outcome: Routed | Refused) -> Routed | Refused:
        if isinstance(outcome, Refused):
            return outcome
        work = outcome.work
        full = self._room.refusal(parcel(work, subjects.flow(work.account, work.user)))
        if full is None:
            return outcome
        return Refused(
            code="overloaded", message=full, reply_to=work.reply_to, retry_after_s=OVERLOADED_RETRY_S
        )
