"""Schedules pull requests among consumers that share one pool of slots. Pure.

Each consumer is a rank, and lower ranks are preferred; but of every EVERY requested messages at least one is requested
from each rank that has any. A rank whose last known count is 0 keeps one long poll for a single message open, which
costs nothing. From a rank known to hold messages as many are requested as there are free slots, and the server answers
at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

__all__ = ["BATCH_POLL_S", "EVERY", "LONG_POLL_S", "PullRequest", "PullScheduler", "Source"]

EVERY: Final = 8
"""Messages requested of which each non-empty rank receives at least one: four full ranks share the slots 5 : 1 : 1 : 1,
so that small backlogs are preferred and none starves."""
LONG_POLL_S: Final = 10.0
"""Seconds a long poll stays open. A frozen process still receives messages for that long; each of them is
redelivered only after ack_wait and uses up one delivery."""
BATCH_POLL_S: Final = 0.25
"""Seconds a long poll for several messages stays open: it withholds slots from the other ranks."""


class Source(Struct):
    """The state of one consumer, kept up to date by its puller."""

    pending: int = 0
    """Undelivered messages, as the server reported with its last delivery."""
    outstanding: int = 0
    """How many messages the open request may still bring."""
    long_poll: bool = True
    """The open request also waits for messages that are not stored yet."""
    batch: int = 1
    """How many messages the next long poll requests: about as many as arrived in BATCH_POLL_S."""

    def record_end(self, requested: int, received: int, age_s: float) -> None:
        """Adapt `batch` to a long poll for `requested` messages that brought `received` and ended after `age_s`."""
        if received < requested:
            self.batch = max(1, received)
        else:
            self.batch = 2 * requested if age_s <= BATCH_POLL_S else requested


class PullRequest(Struct, frozen=True):
    """Request `batch` messages of one rank."""

    rank: int
    batch: int
    waits_s: float
    """Seconds to wait for messages that are not stored yet; 0: answer with the stored ones."""


class PullScheduler:
    """Decides what to request; its only state is how often each rank was passed over.

    The messages requested and in flight together never exceed `slots` plus one for each further rank, because the
    long polls of empty ranks may all be answered while every slot is in use.
    """

    def __init__(self, ranks: int) -> None:
        self._passed = [0] * ranks
        self.wants_more = False
        """At the last decision some rank could use more slots: decide again when one is free."""

    def requests(self, sources: Sequence[Source], slots: int, held: int) -> list[PullRequest]:
        """What to request now, with `held` messages in flight."""
        outstanding = sum(source.outstanding for source in sources)
        long_polls = sum(1 for source in sources if source.outstanding and source.long_poll)
        free = slots - held - (outstanding - long_polls)
        room = slots + len(sources) - 1 - held - outstanding
        wanted = {rank: source.pending for rank, source in enumerate(sources) if source.outstanding == 0}
        empty = sorted(rank for rank, pending in wanted.items() if pending == 0)
        self.wants_more = False
        chosen: Counter[int] = Counter()
        while wanted:
            rank = self._next(wanted, free, room)
            if rank is None:
                self.wants_more = True
                break
            pending = wanted[rank]
            taken = min(free, room, pending) if pending and len(wanted) == 1 else 1
            chosen[rank] += taken
            room -= taken
            free -= taken if pending else 0
            if pending <= taken:
                del wanted[rank]
            else:
                wanted[rank] -= taken
        self._lengthen(chosen, [rank for rank in empty if chosen[rank]], sources, (free, room))
        return [
            PullRequest(rank, batch, _waits_s(len(sources), batch) if rank in empty else 0.0)
            for rank, batch in sorted(chosen.items())
        ]

    def _next(self, wanted: dict[int, int], free: int, room: int) -> int | None:
        """The rank to request from next; None if it has to wait for a slot."""
        by_passed = sorted(wanted, key=lambda rank: (-self._passed[rank], rank))
        # Each rank must get a message within EVERY, even if all ranks before it are served first.
        due = any(self._passed[rank] + place >= EVERY - 1 for place, rank in enumerate(by_passed))
        able = [rank for rank in wanted if room > 0 and (free > 0 or wanted[rank] == 0)]
        if due:
            able = [rank for rank in able if rank == by_passed[0]]
        if not able:
            return None
        rank = min(able)
        for other in wanted:
            self._passed[other] += 1
        self._passed[rank] = 0
        return rank

    def _lengthen(
        self, chosen: Counter[int], empty: list[int], sources: Sequence[Source], left: tuple[int, int]
    ) -> None:
        """Request several messages at once from ranks that were busy, so that not every message needs a request.

        Half of the free slots stay available for the other ranks, if there are any.
        """
        free, room = left
        alone = len(sources) == 1
        for rank in empty:
            more = min(free, room) if alone else min(sources[rank].batch - 1, free // 2, room)
            if more > 0:
                chosen[rank] += more
                free -= more
                room -= more


def _waits_s(ranks: int, batch: int) -> float:
    return LONG_POLL_S if batch == 1 or ranks == 1 else BATCH_POLL_S
