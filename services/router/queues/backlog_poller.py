"""Polls the size of the mailboxes: once a second for the sweep, and sooner before a rejection by an old count."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import nats.errors
import nats.js.errors
from nats.js.api import StreamInfo

from penstock.bus.clock import Clock
from penstock.bus.freezes import AwakeTimeout
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.names import LANES, Lane
from penstock.contract.streams import BODIES, WORK, mailbox
from penstock.contract.subjects import work_address
from penstock.runtime.service import Bus
from services.router.queues.backlog import Backlog
from services.router.queues.byte_limits import ByteLimits
from services.router.queues.stream_bytes import StreamFill
from services.router.queues.user_order import MailboxRank

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
            async with AwakeTimeout(_TIMEOUT_S), self._one_at_a_time:
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
        taken = await self._taken(counts, info.state.last_seq)
        self.backlog.snapshot(counts, self._routers(), info.state.last_seq, taken)
        self._limits.snapshot(_fill(info), _fill(bodies))
        self.backlog.record_departures(info.state.last_seq - info.state.messages, self._clock.monotonic_s())
        self.backlog.counted_s = counted_s
        return counts

    async def _taken(self, counts: Mapping[str, int], last_sequence: int) -> dict[MailboxRank, int]:
        """The last sequence that each rank above 0 with messages has delivered, or `last_sequence` if none waits."""
        used = {address[:3] for each in counts if (address := work_address(each)) and address.rank > 0}
        ranks = [(role, lane, rank) for role, name, rank in used for lane in LANES if lane == name]
        found = await asyncio.gather(*(self._last_delivered(*each) for each in ranks))
        return {
            rank: delivered if waiting else last_sequence
            for rank, (delivered, waiting) in zip(ranks, found, strict=True)
        }

    async def _last_delivered(self, role: str, lane: Lane, rank: int) -> tuple[int, bool]:
        """The sequence, and whether messages wait; (0, True) where no worker has created the consumer."""
        durable = mailbox(role, lane)[rank].durable
        try:
            info = await self._bus.js.consumer_info(WORK.name, durable)
        except nats.js.errors.APIError:
            return 0, True
        return (info.delivered.stream_seq if info.delivered else 0), info.num_pending != 0

    def _is_old(self) -> bool:
        counted_s = self.backlog.counted_s
        return counted_s is None or self._clock.monotonic_s() - counted_s >= _FRESH_S


def _fill(info: StreamInfo) -> StreamFill:
    return StreamFill(info.state.bytes, info.config.max_bytes or 0)
