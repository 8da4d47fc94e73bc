"""Polls the size of the mailboxes: once a second for the sweep, and sooner before a rejection by an old count."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import nats.errors
from nats.js.api import StreamInfo

from penstock.bus.clock import Clock
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.streams import BODIES, WORK
from penstock.runtime.service import Bus
from services.router.queues.backlog import Backlog
from services.router.queues.byte_limits import ByteLimits, StreamFill

__all__ = ["BacklogPoller"]

_log: Final = rate_limited_logger(__name__)
_FRESH_S: Final = 0.1
"""Age in seconds up to which a count is not repeated: at most ten counts a second, however many rejections."""
_TIMEOUT_S: Final = 0.5
"""Seconds that a request at admission waits for a count."""


class BacklogPoller:
    def __init__(
        self, bus: Bus, backlog: Backlog, limits: ByteLimits, clock: Clock, routers: Callable[[], int]
    ) -> None:
        """`routers`: how many routers admit requests, this one included."""
        self._bus = bus
        self.backlog = backlog
        self._limits = limits
        self._clock = clock
        self._routers = routers
        self._one_at_a_time = asyncio.Lock()

    async def poll(self) -> dict[str, int]:
        """Messages by subject; updates the backlog and the byte limits. Raises nats errors."""
        async with self._one_at_a_time:
            return await self._poll()

    async def has_newer_than(self, counted_s: float | None) -> bool:
        """Whether the current count is newer than that of `counted_s`; an old count is repeated first.

        Requests that ended since an old count are still in it, so a rejection by it may be wrong. False also when the
        server does not answer in time.
        """
        try:
            async with asyncio.timeout(_TIMEOUT_S), self._one_at_a_time:
                if self._is_old():
                    await self._poll()
        except (nats.errors.Error, TimeoutError) as error:
            _log.warning("the mailboxes cannot be counted now: %r", error)
        return self.backlog.counted_s != counted_s

    async def _poll(self) -> dict[str, int]:
        self.backlog.begin_count()
        self._limits.begin_count()
        counted_s = self._clock.monotonic_s()
        info = await self._bus.js.stream_info(WORK.name, subjects_filter=">")
        bodies = await self._bus.js.stream_info(BODIES.name)
        counts: dict[str, int] = info.state.subjects or {}
        self.backlog.snapshot(counts, self._routers())
        self._limits.snapshot(_fill(info), _fill(bodies))
        self.backlog.record_departures(info.state.last_seq - info.state.messages, self._clock.monotonic_s())
        self.backlog.counted_s = counted_s
        return counts

    def _is_old(self) -> bool:
        counted_s = self.backlog.counted_s
        return counted_s is None or self._clock.monotonic_s() - counted_s >= _FRESH_S


def _fill(info: StreamInfo) -> StreamFill:
    return StreamFill(info.state.bytes, info.config.max_bytes or 0)
