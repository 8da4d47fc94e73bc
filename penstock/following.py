"""Following one reply: live events, mended from the stored ones wherever the live ones have a hole."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Final

import nats.errors
from msgspec import Struct
from nats.aio.client import Client as Nats

from penstock.errors import ReplyIncomplete
from penstock.history import stored_replies
from penstock.reading import Reading
from schemas.reply import TERMINAL, ReplyEvent

__all__ = ["Feed", "Following", "follow"]

_log: Final = logging.getLogger(__name__)
_QUEUE: Final = 4096
_QUIET_S: Final = 5.0
"""After this long without an event the stored ones are looked at: one may have been lost with a connection."""
_LOOK_AGAIN_S: Final = 0.25
"""How soon the store is looked at again when it did not fill a gap."""
_PATIENCE_S: Final = 3.0
"""A sender whose connection was lost repeats what it sent as soon as it is back."""


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


async def follow(nc: Nats, feed: Feed, following: Following) -> AsyncGenerator[ReplyEvent, None]:
    """Every event after `after_seq`, once and in order, until the terminal one or until time is up.

    What is missing among the live events is waited for in the store, where it may arrive a little later. Raises
    ReplyIncomplete when the store has the end of a streamed answer, but for `_PATIENCE_S` not all that led to it.
    """
    reading = Reading(following.after_seq)
    loop = asyncio.get_running_loop()
    event: ReplyEvent | None = None
    look_in_store = following.from_store
    next_look_s = give_up_s = 0.0
    while True:
        arrived = await _stored(nc, following.subject, reading.last_seq) if look_in_store else []
        if event is not None:
            arrived.append(event)
        for each in reading.pick(arrived):
            yield each
            if isinstance(each, TERMINAL):
                return
        now_s = loop.time()
        if now_s >= following.until_s:
            return
        give_up_s = (give_up_s or now_s + _PATIENCE_S) if reading.end_behind_gap else 0.0
        if give_up_s and now_s >= give_up_s:
            raise ReplyIncomplete("the answer is finished, but not all of its text arrived or is stored")
        if look_in_store:
            next_look_s = now_s + _LOOK_AGAIN_S if reading.gap else now_s
        wait_s = _LOOK_AGAIN_S if reading.gap else _QUIET_S
        event = await feed.get(min(wait_s, following.until_s - now_s))
        wanted = event is None or reading.judge(event) == "gap"
        look_in_store = wanted and loop.time() >= next_look_s


async def _stored(nc: Nats, subject: str, after_seq: int) -> list[ReplyEvent]:
    """What is stored; nothing when the store does not answer now (the follower looks again later)."""
    try:
        return await stored_replies(nc, subject, after_seq)
    except (nats.errors.Error, TimeoutError) as error:
        _log.warning("stored replies cannot be read now: %r", error)
        return []
