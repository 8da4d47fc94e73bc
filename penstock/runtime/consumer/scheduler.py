"""Schedules pull requests among consumers that share one pool of slots. Pure.

Each consumer is a rank. A rank is requested from only while every rank before it is known to be empty, that is, while a
long poll of each is open; so the requests of one user, whose ranks never fall, start in order. A long poll costs
nothing while nothing comes. From a rank known to hold messages as many are requested as there are free slots, and the
server answers at once. One of EVERY messages may come from a later rank whose first message is the older one
(`penstock/runtime/consumer/rank_heads.py`), which keeps that order and starves none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from msgspec import Struct

__all__ = [
    "BATCH_POLL_S",
    "EVERY",
    "LONG_POLL_S",
    "PullPlan",
    "PullRequest",
    "PullScheduler",
    "Source",
    "forget_closed",
    "slots_beside",
]

EVERY: Final = 8
"""Messages of which one comes from a later rank, if its first message is older than those of all ranks before it: small
backlogs are preferred, and none starves."""
_FIRST_RANKS: Final = 2
"""Ranks whose messages may start beside the slots: those of accounts without a long queue."""
_BESIDE: Final = 4
"""They may use one additional slot for so many slots."""
LONG_POLL_S: Final = 10.0
"""Seconds a long poll stays open. A frozen process still receives messages for that long; each of them is
redelivered only after ack_wait and uses up one delivery."""
BATCH_POLL_S: Final = 0.25
"""Seconds a long poll for several messages stays open: it withholds slots from the other ranks."""


class Source(Struct):
    """The state of one consumer, kept up to date by its puller."""

    pending: int = 0
    """Undelivered messages, as the server reported with its last delivery."""
    is_known: bool = False
    """The server reported `pending` just now, or a request has been open since."""
    outstanding: int = 0
    """How many messages the open request may still bring."""
    long_poll: bool = True
    """The open request also waits for messages that are not stored yet."""
    batch: int = 1
    """How many messages the next long poll requests: about as many as arrived in BATCH_POLL_S."""

    @property
    def is_polled(self) -> bool:
        """A long poll is open, so the consumer has no undelivered message."""
        return self.outstanding > 0 and self.long_poll

    def record_end(self, requested: int, received: int, age_s: float) -> None:
        """Adapt `batch` to a long poll for `requested` messages that brought `received` and ended after `age_s`."""
        if received < requested:
            self.batch = max(1, received)
        else:
            self.batch = 2 * requested if age_s <= BATCH_POLL_S else requested


class PullRequest(Struct, frozen=True, order=True):
    """Request `batch` messages of one rank."""

    rank: int
    batch: int
    waits_s: float
    """Seconds to wait for messages that are not stored yet; 0: answer with the stored ones."""


class PullPlan(Struct, frozen=True):
    """What to do now."""

    requests: tuple[PullRequest, ...] = ()
    withdrawn: tuple[int, ...] = ()
    """Ranks whose long polls are withdrawn before; then decide again."""
    wants_more: bool = False
    """Some rank could use more slots: decide again when one is free."""


class PullScheduler:
    """Decides what to request; its only state is how many messages came since a later rank had its turn.

    The messages requested and in flight together never exceed `slots`, plus those beside them for the first ranks, plus
    one for each further rank, because the long polls of empty ranks may all be answered while every slot is in use.
    """

    def __init__(self, ranks: int) -> None:
        self._last = ranks - 1
        self._since = 0

    def record(self, rank: int) -> None:
        """A message of `rank` came."""
        self._since = 0 if rank == self._last else min(self._since + 1, 2 * EVERY)

    def skip_turn(self) -> None:
        """No later rank has an older message."""
        self._since = 0

    @property
    def is_due(self) -> bool:
        """A later rank has its turn now."""
        return self._since >= EVERY - 1

    def first(self, sources: Sequence[Source]) -> int:
        """The first rank that may have messages."""
        return next((rank for rank, source in enumerate(sources) if not source.is_polled), self._last)

    def plan(
        self,
        sources: Sequence[Source],
        slots: int,
        held: int,
        *,
        turn: int | None = None,
        reserve: bool = False,
        beside: int = 0,
    ) -> PullPlan:
        """What to request now, with `held` messages in flight.

        `turn`: the later rank that has its turn, if a slot is free. `reserve`: it has to wait for one, so no message is
        requested beyond the slots. `beside`: slots for the first ranks only (`slots_beside`).
        """
        beside = 0 if reserve else beside
        room = _Room.of(sources, slots, held, 0 if reserve else self._last + beside)
        requests: list[PullRequest] = []
        if turn is not None and room.free > 0 and room.all > 0 and sources[turn].outstanding == 0:
            requests.append(room.take(turn, 1))
            self._since -= EVERY - 1
            room.free = min(room.free, EVERY - 1)  # the next turn comes after these
        polls: list[int] = []
        short: tuple[int, ...] | None = None
        for rank, source in enumerate(sources):
            if source.is_polled:
                continue
            if source.outstanding > 0 or (requests and rank == turn):
                break  # its answer comes at once
            free = room.free + (beside if rank < _FIRST_RANKS else 0)
            if free <= 0 or room.all <= 0:
                short = _polled_after(rank, sources)
                break
            if source.pending == 0 and (source.is_known or self._last == 0):
                room.all -= 1
                polls.append(rank)
                continue
            count = min(room.all, free, source.pending or free)
            requests.append(room.take(rank, count))
            if room.free <= 0:
                short = _polled_after(rank, sources) if source.pending else ()
            break
        if not short:  # otherwise the next decision follows at once
            forget_closed(sources, {*polls, *(request.rank for request in requests)})
        requests += self._lengthened(polls, sources, room)
        return PullPlan(tuple(sorted(requests)), short or (), wants_more=short is not None)

    def _lengthened(self, polls: Sequence[int], sources: Sequence[Source], room: _Room) -> list[PullRequest]:
        """Poll for several messages at once where a rank was busy, so that not every message needs a request.

        Half of the free slots stay available for the other ranks, if there are any.
        """
        alone = self._last == 0
        requests = []
        for rank in polls:
            most = room.free if alone else min(sources[rank].batch - 1, room.free // 2)
            more = max(0, min(most, room.all))
            room.free -= more
            room.all -= more
            waits_s = LONG_POLL_S if more == 0 or alone else BATCH_POLL_S
            requests.append(PullRequest(rank, 1 + more, waits_s))
        return requests


class _Room(Struct):
    """The slots that are left to decide on."""

    free: int
    """Free slots. A long poll takes none for its first message."""
    all: int
    """Messages that may be requested, those beyond the slots included."""

    @classmethod
    def of(cls, sources: Sequence[Source], slots: int, held: int, beyond: int) -> _Room:
        outstanding = sum(source.outstanding for source in sources)
        polled = sum(source.is_polled for source in sources)
        return cls(slots - held - (outstanding - polled), slots + beyond - held - outstanding)

    def take(self, rank: int, count: int) -> PullRequest:
        self.free -= count
        self.all -= count
        return PullRequest(rank, count, 0.0)


def slots_beside(slots: int, held: Sequence[int]) -> int:
    """Slots that the first ranks may use besides, with so many messages of each rank in flight.

    No more than later ranks hold, so that the first ranks alone never exceed the slots.
    """
    return min(slots // _BESIDE, sum(held[_FIRST_RANKS:]))


def _polled_after(rank: int, sources: Sequence[Source]) -> tuple[int, ...]:
    return tuple(each for each in range(rank + 1, len(sources)) if sources[each].is_polled)


def forget_closed(sources: Sequence[Source], requested: Collection[int] = ()) -> None:
    """Of a rank without a request nothing is known from now on. `requested`: those that get one now."""
    for rank, source in enumerate(sources):
        if source.outstanding == 0 and rank not in requested:
            source.is_known = False
