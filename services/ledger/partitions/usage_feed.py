"""The usage of a partition's accounts, in order and once each: read from the stream when something was published."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Final

import nats.errors
from msgspec import Struct
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from penstock.bus.clock import common_tick_s, loop_now_s
from penstock.bus.direct_get import NoSuchStream, PageReader, last_sequence, sequence_of, stream_position
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract import headers, subjects
from penstock.contract.streams import EVENTS
from penstock.runtime.aio import CriticalLoop
from penstock.runtime.service import Bus
from services.ledger.metrics import LedgerMetrics
from services.ledger.partitions.usage_events import InvalidUsage, UsageEvent, read_usage

__all__ = ["UsageFeed"]

_log: Final = rate_limited_logger(__name__)
_PAGE: Final = 200
_MOST_BUFFERED: Final = 2_000
_POLL_S: Final = 1.0
"""Most seconds between two reads without a message, of all partitions at once: a message may be lost with the
connection, or a node may lag; and between two reads of usage on which nothing is decided."""
_GATHER_S: Final = 0.005
"""Seconds from a message to the read, so that others are read with it, unless a hold waits for what it may release."""
_BUSY_EVENTS: Final = 8
"""Events of one read from which on the next read follows after a pause, instead of at the next message: each message
would be received twice."""
_BUSY_PAUSE_S: Final = 0.01
_QUIET_READS: Final = 3
"""Reads with fewer events in a row after which the next read follows a message again."""
_LOOK_EVERY_S: Final = 0.75
"""Least seconds between two looks at the end of the stream, at its leader: less than `_POLL_S`, so that each read
without a message looks."""


class _End(Struct, frozen=True):
    """Where the usage ended at a moment."""

    sequence: int
    at_ms: int
    """By the server's clock."""


class UsageFeed:
    """Reads ahead of the writer, up to a bound; the position is that of the journal, so nothing is acknowledged."""

    def __init__(
        self,
        bus: Bus,
        partition: str,
        after: int,
        metrics: LedgerMetrics,
        on_events: Callable[[], None],
        now_ms: Callable[[], int],
    ) -> None:
        """`after`: the last sequence that was booked. `now_ms`: the server's clock."""
        self._bus = bus
        self._reader = PageReader(bus.nc, EVENTS.name)
        self._partition = partition
        self._filter = subjects.all_usage_of(partition)
        self._read = self._handed_out = after
        self._at_once = partition != subjects.SYSTEM_PARTITION
        self._quiet = 0
        self.urgent = False
        """Whether a hold waits for what usage releases."""
        self._complete_at: int | None = None
        """Where the first complete read since `read_at_once` ended."""
        self._metrics = metrics
        self._on_events = on_events
        self._now_ms = now_ms
        self._end: _End | None = None
        """The last one that was looked at."""
        self._complete_ms = 0
        self._next_look_s = 0.0
        self._events: deque[UsageEvent] = deque()
        self._published = asyncio.Event()
        self._taken = asyncio.Event()
        self._subscription: Subscription | None = None
        self._loop = CriticalLoop("usage feed")

    def __bool__(self) -> bool:
        return bool(self._events)

    @property
    def is_complete(self) -> bool:
        """Whether usage is read as it is published, and all that was stored before this began has been taken."""
        return self._complete_at is not None and self._handed_out >= self._complete_at

    @property
    def complete_ms(self) -> int:
        """All usage that was stored before this moment is taken, Unix milliseconds by the server's clock; 0: not known
        yet.
        """
        if self._end is not None and self._handed_out >= self._end.sequence:
            self._complete_ms, self._end = self._end.at_ms, None
        return self._complete_ms

    def read_at_once(self, *, wanted: bool) -> None:
        """Read usage as it is published; or, where nothing is decided on it, about once a second, which costs less."""
        if wanted != self._at_once:
            self._at_once = wanted
            self._complete_at = None
            self._published.set()

    async def start(self) -> None:
        await self._listen(wanted=self._at_once)
        self._loop.start(self._run())

    async def stop(self) -> None:
        await self._loop.stop()
        with contextlib.suppress(nats.errors.Error):  # the connection is closed
            await self._listen(wanted=False)
            await self._reader.close()

    def take(self, most: int) -> list[UsageEvent]:
        """The next events, at most `most`."""
        taken = [self._events.popleft() for _ in range(min(most, len(self._events)))]
        if taken:
            self._handed_out = taken[-1].sequence
            self._taken.set()
        return taken

    async def _on_message(self, _: Msg) -> None:
        self._published.set()

    async def _listen(self, *, wanted: bool) -> None:
        """Subscribe to the usage, and read what was published before; or unsubscribe."""
        if wanted and self._subscription is None:
            self._subscription = await self._bus.nc.subscribe(self._filter, cb=self._on_message)
            self._published.set()
        elif not wanted and self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            await subscription.unsubscribe()

    async def _wait(self) -> None:
        """Wait for the next read."""
        if self._subscription is None and self._at_once:
            await asyncio.sleep(_BUSY_PAUSE_S)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(common_tick_s(_POLL_S)):
                await self._published.wait()
            if not self.urgent:
                await asyncio.sleep(_GATHER_S)
            self._published.clear()

    @property
    def _may_listen(self) -> bool:
        """Whether the messages are few enough to be received twice."""
        quiet = 1 if self._subscription is not None else _QUIET_READS
        return self.urgent or self._quiet >= quiet

    async def _run(self) -> None:
        while True:
            await self._wait()
            try:
                await self._look_at_end()
                self._quiet = self._quiet + 1 if await self._read_all() < _BUSY_EVENTS else 0
                await self._listen(wanted=self._at_once and self._may_listen)
            except (nats.errors.Error, TimeoutError) as error:
                if not isinstance(error, NoSuchStream) or not self._bus.nc.is_closed:
                    _log.warning("the usage of partition %s cannot be read now: %r", self._partition, error)
                await asyncio.sleep(_POLL_S)
                self._published.set()

    async def _read_all(self) -> int:
        """Returns the number of events."""
        count = 0
        while True:
            while len(self._events) >= _MOST_BUFFERED:
                self._taken.clear()
                await self._taken.wait()
            at_once = self._at_once
            page = await self._reader.read(self._filter, sequence=self._read + 1, batch=_PAGE)
            for msg in page.messages:
                self._events.append(self._event(msg))
            count += len(page.messages)
            if page.messages:
                self._read = page.next_sequence - 1
                self._on_events()
            self._metrics.lag.labels(self._partition).set(page.pending + len(self._events))
            if not page.messages or page.pending == 0:
                if at_once and self._at_once and self._complete_at is None:
                    self._complete_at = self._read
                    self._on_events()
                return count

    def _event(self, msg: Msg) -> UsageEvent:
        found = msg.headers or {}
        sequence = sequence_of(msg)
        try:
            event = read_usage(found.get("Nats-Subject", ""), msg.data)
        except InvalidUsage as error:
            self._metrics.invalid_usage.inc()
            _log.warning("message %d of %s cannot be settled: %s", sequence, EVENTS.name, error)
            return UsageEvent(sequence, None)
        return UsageEvent(sequence, event, found.get(headers.TRACEPARENT))

    async def _look_at_end(self) -> None:
        """Ask the leader where the usage ends, at times: the nodes from which it is read may lag."""
        began_s = loop_now_s()
        if began_s < self._next_look_s:
            return
        at_ms = self._now_ms()
        last = await last_sequence(self._bus.nc, EVENTS.name, self._filter)
        if last < self._read:  # it is too old to be kept, or the stream is another one
            await self._check_position()
        if self._end is None:
            self._end = _End(last, at_ms)
        self._next_look_s = began_s + _LOOK_EVERY_S

    async def _check_position(self) -> None:
        """Begin anew if the stream does: it was deleted and created again, and its sequences began at 1."""
        last = (await stream_position(self._bus.nc, EVENTS.name)).last_sequence
        if last < self._read:
            _log.warning(
                "%s ends at %d, before the usage that was booked last (%d): reading it from its beginning",
                EVENTS.name,
                last,
                self._read,
            )
            self._read = self._handed_out = 0
            self._end = self._complete_at = None
