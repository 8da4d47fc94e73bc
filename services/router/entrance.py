"""The door with eyes: nobody is refused by a count of the mailboxes that a newer one contradicts."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from schemas import subjects
from schemas.subjects import WorkAddress
from services.router.counting import Counting
from services.router.door import Door, admitted
from services.router.intake import Refused, Routed

__all__ = ["Entrance", "Place"]


class Place:
    """In a mailbox, counted from the verdict on. Whoever leaves it (`with`) without having it stored gives it back."""

    def __init__(self, door: Door, address: WorkAddress) -> None:
        self._door = door
        self._address = address
        self._stored = False

    @property
    def subject(self) -> str:
        return subjects.work(*self._address)

    def stored(self) -> None:
        """The work is in its mailbox."""
        self._stored = True
        self._door.stored(self._address)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._stored:
            self._door.give_back(self._address)


class Entrance:
    def __init__(self, door: Door, counting: Counting) -> None:
        self._door = door
        self._counting = counting

    async def admit(self, routed: Routed, *, repeated: bool) -> Place | Refused:
        """Nobody else is judged between the verdict and the place.

        Asks the server only before a refusal, and then not more often than `Counting` does. Who comes a second time is
        not asked: it may be in its mailbox already.
        """
        if repeated:
            return Place(self._door, self._door.let_in(routed.work))
        foreseen = self._door.foresee(routed.work)
        if foreseen.retry_after_s is not None and await self._counting.has_newer(foreseen.counted_s):
            foreseen = self._door.foresee(routed.work)
        outcome = admitted(routed, foreseen)
        return outcome if isinstance(outcome, Refused) else Place(self._door, self._door.let_in(outcome.work))
