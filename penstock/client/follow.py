"""Following one reply: live events, mended from the stored ones wherever the live ones have a hole."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from itertools import chain
from typing import Final

import nats.errors
from msgspec import Struct
from nats.aio.client import Client as Nats

from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.stored_replies import stored_replies
from penstock.client.sequencer import Reading, last_if_beyond
from penstock.contract.reply import TERMINAL, ReplyEvent
from penstock.errors import BeyondTheEnd, ReplyIncomplete

__all__ = ["Feed", "Following", "follow", "nothing_left"]

_log: Final = rate_limited_logger(__name__)
_QUEUE: Final = 4096
_QUIET_S: Final = 5.0
"""After this long without an event the stored ones are looked at: one may have been lost with a connection."""
_LOOK_AGAIN_S: Final = 0.25
"""How soon the store is looked at again when it did not fill a gap."""
_PATIENCE_S: Final = 3.0
"""A sender repeats what may have been lost as soon as the end is stored, which may be long after the end was heard: a
cluster without a leader stores nothing."""


class Feed:
    """Live events of one reply, as the subscription delivers them. `None` asks the reader to look at the store.

    Bounded: what a slow reader leaves no room for is dropped here and read from the store later.
    """

    def __init__(self) -> None:
        self._queue: asyncio.Queue[ReplyEvent | None] = asyncio.Queue(_QUEUE)

    def put(self, event: ReplyEvent | None) -> None:
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            _log.info("a slow reader: an event is left to be read from the store")

    async def get(self, timeout_s: float) -> ReplyEvent | None:
        """The next event, or None after `timeout_s` or on request."""
        if not self._queue.empty():
            return self._queue.get_nowait()
        try:
            async with asyncio.timeout(timeout_s):
                return await self._queue.get()
        except TimeoutError:
            return None


class Following(Struct):
    """What is followed, and for how long; `until_s` (the loop's clock) may be moved while it goes on."""

    subject: str
    until_s: float
    after_seq: int = -1
    from_store: bool = False
    """Begin with what is stored."""
    on_silence: Callable[[], Awaitable[None]] | None = None
    """Called when nothing was heard or found for some seconds, and then again; what it raises ends the following."""


class _Pace(Struct):
    """When to look into the store again, and when to stop hoping. Times are the loop's."""

    next_look_s: float = 0.0
    give_up_s: float = math.inf

    def looked(self, reading: Reading, now_s: float, stored: Collection[ReplyEvent] | None) -> None:
        """Raises ReplyIncomplete when the store has had the end of a streamed answer, but not the rest, too long."""
        self.next_look_s = now_s + _LOOK_AGAIN_S if reading.gap else now_s
        ended = stored is not None and any(isinstance(event, TERMINAL) for event in stored)
        if not reading.end_behind_gap:
            self.give_up_s = math.inf
        elif ended and now_s >= self.give_up_s:
            raise ReplyIncomplete("the answer is finished, but not all of its text arrived or is stored")
        elif ended:
            self.give_up_s = min(self.give_up_s, now_s + _PATIENCE_S)


async def follow(nc: Nats, feed: Feed, following: Following) -> AsyncGenerator[ReplyEvent, None]:
    """Every event after `after_seq`, once and in order, until the terminal one or until time is up.

    What is missing among the live events is waited for in the store, where it may arrive a little later. Raises
    ReplyIncomplete when it does not.
    """
    reading = Reading(following.after_seq)
    pace = _Pace()
    loop = asyncio.get_running_loop()
    event: ReplyEvent | None = None
    look = following.from_store
    while True:
        stored = await _stored(nc, following.subject) if look else None
        news = reading.pick([*(stored or ()), *((event,) if event is not None else ())])
        for each in chain(news, reading.start_over(stored or ())):
            yield each
            if isinstance(each, TERMINAL):
                return
        now_s = loop.time()
        if now_s >= following.until_s:
            return
        if look:
            pace.looked(reading, now_s, stored)
        wait_s = _LOOK_AGAIN_S if reading.gap else _QUIET_S
        event = await feed.get(min(wait_s, following.until_s - now_s))
        if following.on_silence is not None and event is None and reading.last_seq == following.after_seq:
            await following.on_silence()
        look = _asks_for_store(reading, event) and loop.time() >= pace.next_look_s


def _asks_for_store(reading: Reading, event: ReplyEvent | None) -> bool:
    """Silence, a gap, and an end that lies below what was read: another worker's, which may be the one that stands."""
    if event is None:
        return True
    verdict = reading.judge(event)
    return verdict == "gap" or (verdict == "old" and isinstance(event, TERMINAL))


async def nothing_left(nc: Nats, subject: str, after_seq: int) -> bool:
    """Whether `after_seq` is the end of the reply, as far as the store can say now. Raises BeyondTheEnd."""
    stored = await _stored(nc, subject) if after_seq >= 0 else None
    last_seq = last_if_beyond(stored or (), after_seq)
    if last_seq is not None:
        raise BeyondTheEnd(after_seq, last_seq)
    return any(isinstance(event, TERMINAL) and event.seq == after_seq for event in stored or ())


async def _stored(nc: Nats, subject: str) -> list[ReplyEvent] | None:
    """What is stored; None when the store does not answer now (the follower looks again later)."""
    try:
        return await stored_replies(nc, subject)
    except (nats.errors.Error, TimeoutError) as error:
        _log.warning("stored replies cannot be read now: %r", error)
        return None
