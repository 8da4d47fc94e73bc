"""Follow one reply: live events, completed from the stored ones where the live ones have a gap."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from itertools import chain
from typing import Final

import nats.errors
from msgspec import Struct
from nats.aio.client import Client as Nats

from penstock.bus.clock import loop_now_s
from penstock.bus.freezes import extended_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.stored_replies import stored_replies
from penstock.client.sequencer import ReplySequencer, last_seq_if_beyond
from penstock.client.timings import ClientTimings
from penstock.client.unavailable import cause
from penstock.contract.reply import TERMINAL, Accepted, ReplyEvent
from penstock.contract.streams import REPLIES
from penstock.errors import BeyondTheEnd, ClientClosed, NoReply, ReplyIncomplete

__all__ = ["CLOCK_S", "Feed", "Followed", "follow", "is_at_end"]

_log: Final = rate_limited_logger(__name__)
_QUEUE: Final = 4096
"""Events of one reply that wait for its reader."""
_QUEUE_BYTES: Final = 512 * 1024
"""Size of these events as messages; one more may exceed it."""
_LIVE_S: Final = 60.0
"""Seconds without an event taken after which a reader that is behind counts no more as one."""
CLOCK_S: Final = 0.001
"""The resolution of the timers of uvloop, which may fire early by as much."""


class Feed:
    """Live events of one reply, as the subscription delivers them. `None` asks the reader to read the store.

    Bounded: an event for which a slow reader leaves no room is dropped here and read from the store later. Without
    asyncio's queue and timeout, which cost a fifth of the time per event: one timer serves many waits.
    """

    def __init__(self, on_behind: Callable[[], None] | None = None) -> None:
        """`on_behind`: called when an event is dropped that the reader has to read from the store."""
        self._events: deque[tuple[ReplyEvent | None, int]] = deque()
        """Each with its size in bytes."""
        self._bytes = 0
        self._has_dropped = False
        self._on_behind = on_behind
        self._loop = asyncio.get_running_loop()
        self._missing_since_s: float | None = None
        """When the first event came that the reader has not got yet and that is only in the store."""
        self._taken_s = 0.0
        """When the reader took an event the last time, while it is behind."""
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = math.inf
        """When the reader that waits wants to be woken, on the loop's clock."""

    def put(self, event: ReplyEvent | None, size: int = 0) -> None:
        """`size`: that of its message, in bytes."""
        if len(self._events) < _QUEUE and self._bytes < _QUEUE_BYTES:
            self._events.append((event, size))
            self._bytes += size
        else:
            self._drop()
        self._wake()

    def _drop(self) -> None:
        self._has_dropped = True
        _log.info("slow reader: an event will be read from the store")
        if self._missing_since_s is None:
            self._missing_since_s = self._taken_s = self._loop.time()
            if self._on_behind is not None:
                self._on_behind()

    @property
    def is_behind(self) -> bool:
        """Whether the store alone has some of the events."""
        return self._missing_since_s is not None

    def behind_s(self) -> float:
        """Age of the oldest event that the store alone has; 0: there is none, or the reader takes none any more."""
        now_s = self._loop.time()
        if self._missing_since_s is None or now_s - self._taken_s > _LIVE_S:
            return 0.0
        return now_s - self._missing_since_s

    def note_taken(self) -> None:
        """The reader took an event that was read from the store."""
        self._taken_s = self._loop.time()

    def note_store_read(self, began_s: float) -> None:
        """The reader has everything that was stored before `began_s`, on the loop's clock."""
        self._missing_since_s = began_s if self._has_dropped else None

    @property
    def is_empty(self) -> bool:
        return not self._events

    async def get(self, timeout_s: float) -> ReplyEvent | None:
        """The next event; None after `timeout_s` or when the store should be read. There is one reader."""
        if self._events:
            return self._take()
        if self._has_dropped:
            self._has_dropped = False
            return None
        self._due_s = self._loop.time() + timeout_s
        if self._timer is None or self._timer.when() > self._due_s:
            self._arm()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        return self._take() if self._events else None

    def _take(self) -> ReplyEvent | None:
        event, size = self._events.popleft()
        self._bytes -= size
        if self._missing_since_s is not None:
            self.note_taken()
        return event

    def close(self) -> None:
        """Cancel the timer: `get` is not called again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self.close()
        self._timer = self._loop.call_at(self._due_s, self._on_timer)

    def _on_timer(self) -> None:
        """The timer may be that of an earlier wait: then the present one has time left."""
        self._timer = None
        if self._waiter is None:
            return
        if self._loop.time() + CLOCK_S >= self._due_s:
            self._wake()
        else:
            self._arm()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Followed(Struct):
    """The reply to follow, and until when."""

    subject: str
    until_s: float
    """On the loop's clock; the caller may move it while the reply is followed."""
    timings: ClientTimings
    began_s: float
    """Since when the reply is awaited, likewise."""
    after_seq: int = -1
    from_store: bool = False
    """Begin with the stored events."""
    on_silence: Callable[[], Awaitable[None]] | None = None
    """Called each time no event has come for some seconds; an exception from it ends the iteration."""
    unreadable: str = ""
    """Why the last read of the stored events failed; empty when it succeeded. Set by `follow`."""

    def note_accepted(self, accepted: Accepted) -> None:
        """Wait until the deadline that the router set. Both times are of the NATS server, not of this machine."""
        left_s = (accepted.deadline_ms - accepted.at_ms) / 1000
        self.until_s = loop_now_s() + left_s + self.timings.grace_s

    def until_s_without_freezes(self, now_s: float) -> float:
        """`until_s`, extended if it is over and this process was frozen while the reply was awaited."""
        return (
            extended_s(self.until_s, self.began_s) if now_s >= self.until_s else self.until_s
        )  # for each event

    def no_end(self, what: str, advice: str) -> NoReply:
        """The error for the end of the time: `what` happened; `advice` says what to do now."""
        unread = f" Its stored events cannot be read: {self.unreadable}" if self.unreadable else ""
        return NoReply(f"{what}.{unread} {advice}")


class _StoreReads(Struct):
    """When to read the store again, and when to give up on missing events. Times are on the loop's clock."""

    timings: ClientTimings
    next_s: float = 0.0
    give_up_s: float = math.inf

    def record(self, sequencer: ReplySequencer, now_s: float, stored: Collection[ReplyEvent] | None) -> None:
        """Raises ReplyIncomplete when the store has held the end of a streamed answer, without the rest, too long."""
        self.next_s = now_s + self.timings.read_again_s if sequencer.has_gap else now_s
        ended = stored is not None and any(isinstance(event, TERMINAL) for event in stored)
        if not sequencer.end_behind_gap:
            self.give_up_s = math.inf
        elif ended and now_s >= self.give_up_s:
            raise ReplyIncomplete(
                "the answer is finished, but not all of its text arrived or is stored: send the request again"
            )
        elif ended:
            self.give_up_s = min(self.give_up_s, now_s + self.timings.missing_s)


async def follow(nc: Nats, feed: Feed, followed: Followed) -> AsyncGenerator[ReplyEvent, None]:
    """Every event after `after_seq`, once and in order, until the terminal one or until the time is over.

    Events that are missing among the live ones are awaited in the store, where they may arrive a little later. Raises
    ReplyIncomplete when they do not.
    """
    timings = followed.timings
    sequencer = ReplySequencer(followed.after_seq)
    reads = _StoreReads(timings)
    loop = asyncio.get_running_loop()
    event: ReplyEvent | None = None
    read_store, is_next = followed.from_store, False
    while True:
        stored = await _read(nc, feed, followed) if read_store else None
        if event is not None and is_next:  # nearly always
            yield event
            if isinstance(event, TERMINAL):
                return
        else:
            new = sequencer.deliver([*(stored or ()), *((event,) if event is not None else ())])
            for each in chain(new, sequencer.deliver_valid_attempt(stored or ())):
                yield each
                feed.note_taken()
                if isinstance(each, TERMINAL):
                    return
        now_s = loop.time()
        until_s = followed.until_s_without_freezes(now_s)
        if now_s >= until_s and feed.is_empty:
            if read_store:
                return
            event, read_store, is_next = None, True, False  # the reader may be later than the terminal event
            continue
        if read_store:
            reads.record(sequencer, now_s, stored)
        wait_s = timings.read_again_s if sequencer.has_gap else timings.silence_s
        event = await feed.get(min(wait_s, until_s - now_s))
        if followed.on_silence is not None and event is None and sequencer.last_seq == followed.after_seq:
            await followed.on_silence()
        is_next = event is not None and sequencer.take(event)
        read_store = not is_next and _needs_store(sequencer, event) and loop.time() >= reads.next_s


def _needs_store(sequencer: ReplySequencer, event: ReplyEvent | None) -> bool:
    """After silence, at a gap, and at an end below the position: it may be the valid end, of another worker."""
    if event is None:
        return True
    place = sequencer.classify(event)
    return place == "gap" or (place == "old" and isinstance(event, TERMINAL))


async def is_at_end(nc: Nats, followed: Followed) -> bool:
    """Whether `after_seq` is the end of the reply, as far as the store shows now. Raises BeyondTheEnd."""
    after_seq = followed.after_seq
    stored = await _stored(nc, followed) if after_seq >= 0 else None
    last_seq = last_seq_if_beyond(stored or (), after_seq)
    if last_seq is not None:
        raise BeyondTheEnd(after_seq, last_seq)
    return any(isinstance(event, TERMINAL) and event.seq == after_seq for event in stored or ())


async def _read(nc: Nats, feed: Feed, followed: Followed) -> list[ReplyEvent] | None:
    began_s = loop_now_s()
    stored = await _stored(nc, followed)
    if stored is not None:
        feed.note_store_read(began_s)
    return stored


async def _stored(nc: Nats, followed: Followed) -> list[ReplyEvent] | None:
    """The stored events; None when the store does not answer now."""
    try:
        stored = await stored_replies(nc, followed.subject)
    except nats.errors.ConnectionClosedError as error:
        raise ClientClosed from error
    except (nats.errors.Error, TimeoutError) as error:
        _log.warning("stored replies cannot be read now: %r", error)
        followed.unreadable = cause(nc, REPLIES.name, error)
        return None
    followed.unreadable = ""
    return stored
