"""The door with eyes: nobody is refused by a count of the mailboxes that a newer one contradicts."""

from __future__ import annotations

from schemas.work import ChatWork
from services.router.counting import Counting
from services.router.door import Door, admitted
from services.router.intake import Refused, Routed

__all__ = ["Entrance"]


class Entrance:
    def __init__(self, door: Door, counting: Counting) -> None:
        self._door = door
        self._counting = counting

    async def admit(self, routed: Routed) -> Routed | Refused:
        """Asks the server only before a refusal, and then not more often than `Counting` does."""
        foreseen = self._door.foresee(routed.work)
        if foreseen.retry_after_s is not None and await self._counting.has_newer(foreseen.counted_s):
            foreseen = self._door.foresee(routed.work)
        return admitted(routed, foreseen)

    def let_in(self, work: ChatWork) -> str:
        """The subject in its mailbox, where it counts from now on."""
        return self._door.let_in(work)
