"""Which of several consumers is asked next for how much, when all of them share one pool of slots. Pure.

The consumers are ranks, the first to be preferred; but of every EVERY messages asked for at least one is asked of each
rank that wants one. A rank believed empty has one standing request for a single message open, which costs nothing while
nothing comes; a rank known to hold more is asked for as many as there are free slots, and answers at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

__all__ = ["BRIEF_S", "EVERY", "STANDING_S", "Ask", "PullScheduler", "Source"]

EVERY: Final = 8
"""Slots are divided 5 : 1 : 1 : 1 when all of four ranks are full: most go to those who wait for little, and nobody
is overtaken for ever."""
STANDING_S: Final = 10.0
"""So long a process that was frozen still draws messages to itself: a few would lie there for ack_wait once more, and a
delivery of each would be used up."""
BRIEF_S: Final = 0.25
"""A standing request for several messages keeps slots from the other ranks, so it lasts no longer than this."""


class Source(Struct):
    """One consumer as the order sees it; its puller keeps this true."""

    pending: int = 0
    """Believed to wait there. The server says it with each message."""
    outstanding: int = 0
    """How many messages the request that is open may still bring."""
    standing: bool = True
    """Of that request: it waits for messages that are not there yet."""
    batch: int = 1
    """How many the next standing request asks for: about what came in BRIEF_S."""

    def over(self, asked: int, took: int, age_s: float) -> None:
        """A standing request for `asked` messages brought `took` and ended when it was `age_s` old."""
        if took < asked:
            self.batch = max(1, took)
        else:
            self.batch = 2 * asked if age_s <= BRIEF_S else asked


class Ask(Struct, frozen=True):
    """Request `batch` messages of one rank."""

    rank: int
    batch: int
    waits_s: float
    """For messages to come; 0: answer with what is there."""


class PullScheduler:
    """Decides; remembers only how often each rank was passed over.

    Never more than `slots` and one message for each further rank are asked for and held together: the standing requests
    of the ranks believed empty may all be answered when every slot is taken.
    """

    def __init__(self, ranks: int) -> None:
        self._passed = [0] * ranks
        self.short = False
        """Some rank wanted more than there was room for, at the last decision: look again when a slot is free."""

    def asks(self, sources: Sequence[Source], slots: int, held: int) -> list[Ask]:
        """What to request now, with `held` messages in hand."""
        out = sum(source.outstanding for source in sources)
        lent = sum(1 for source in sources if source.outstanding and source.standing)
        free = slots - held - (out - lent)
        room = slots + len(sources) - 1 - held - out
        wanted = {rank: source.pending for rank, source in enumerate(sources) if source.outstanding == 0}
        standing = sorted(rank for rank, pending in wanted.items() if pending == 0)
        self.short = False
        chosen: Counter[int] = Counter()
        while wanted:
            rank = self._next(wanted, free, room)
            if rank is None:
                self.short = True
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
        self._lengthen(chosen, [rank for rank in standing if chosen[rank]], sources, (free, room))
        return [
            Ask(rank, batch, _waits_s(len(sources), batch) if rank in standing else 0.0)
            for rank, batch in sorted(chosen.items())
        ]

    def _next(self, wanted: dict[int, int], free: int, room: int) -> int | None:
        """Whose turn it is; None when that one has to wait for a slot."""
        by_passed = sorted(wanted, key=lambda rank: (-self._passed[rank], rank))
        # Each in turn must still come within EVERY, were they all served now, one after the other.
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
        self, chosen: Counter[int], standing: list[int], sources: Sequence[Source], left: tuple[int, int]
    ) -> None:
        """Ranks through which much came just now are asked for several at once: one request, not one per message.

        Half of what is free stays for the others, unless there are none.
        """
        free, room = left
        alone = len(sources) == 1
        for rank in standing:
            more = min(free, room) if alone else min(sources[rank].batch - 1, free // 2, room)
            if more > 0:
                chosen[rank] += more
                free -= more
                room -= more


def _waits_s(ranks: int, batch: int) -> float:
    return STANDING_S if batch == 1 or ranks == 1 else BRIEF_S
