"""Counts the mailboxes: once a second for the sweep, and sooner for whoever would be refused by an old count."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import nats.errors

from penstock.bus.clock import Clock
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.streams import WORK
from penstock.runtime.service import Bus
from services.router.queues.backlog import Backlog
from services.router.queues.byte_limits import Room

__all__ = ["Counting"]

_log: Final = rate_limited_logger(__name__)
_FRESH_S: Final = 0.1
"""A younger count is not repeated: ten of them a second at most, whatever the number of refusals."""
_PATIENCE_S: Final = 0.5
"""So long somebody at the door waits for a count."""


class Counting:
    def __init__(self, backlog: Backlog, room: Room, clock: Clock, routers: Callable[[], int]) -> None:
        """`routers`: how many let requests in, this one included."""
        self._backlog = backlog
        self._room = room
        self._clock = clock
        self._routers = routers
        self._one_at_a_time = asyncio.Lock()

    def bind(self, bus: Bus) -> None:
        self._bus = bus

    async def count(self) -> dict[str, int]:
        """Messages by subject; the backlog knows them from now on, the room their bytes. Raises nats errors."""
        async with self._one_at_a_time:
            return await self._count()

    async def has_newer(self, than_s: float | None) -> bool:
        """Whether the count that stands now is newer than that of `than_s`; an old one is made anew.

        What was finished since an old count still stands in it: who is refused by that may be refused wrongly. False,
        too, when the server does not answer in time.
        """
        try:
            async with asyncio.timeout(_PATIENCE_S), self._one_at_a_time:
                if self._is_old():
                    await self._count()
        except (nats.errors.Error, TimeoutError) as error:
            _log.warning("the mailboxes cannot be counted now: %r", error)
        return self._backlog.counted_s != than_s

    async def _count(self) -> dict[str, int]:
        self._backlog.asking()
        self._room.asking()
        asked_s = self._clock.monotonic_s()
        info = await self._bus.js.stream_info(WORK.name, subjects_filter=">")
        counts: dict[str, int] = info.state.subjects or {}
        self._backlog.snapshot(counts, self._routers())
        self._room.snapshot(info.state.bytes, info.config.max_bytes or 0)
        self._backlog.left(info.state.last_seq - info.state.messages, self._clock.monotonic_s())
        self._backlog.counted_s = asked_s
        return counts

    def _is_old(self) -> bool:
        counted_s = self._backlog.counted_s
        return counted_s is None or self._clock.monotonic_s() - counted_s >= _FRESH_S
