"""Room in `LLM_REPLIES` for large replies: a worker writes them only as fast as the stream has room.

A reply of up to 1/256 of the stream's bytes is written at once. A larger one needs a permit, of which each worker has
so many that all large replies that are being written take at most half of the stream, and an account at most half of
the permits; and it reserves room in steps. While there is none the worker reads nothing more from the provider, and the
routers delete replies of the accounts that have the most (services/router/replies).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import takewhile
from types import TracebackType
from typing import Final, Self

from penstock.bus.clock import loop_now_s
from penstock.contract.presence import AccountReplies
from penstock.runtime.byte_budget import FairByteBudget
from penstock.runtime.reply_publisher import KEPT_BYTES
from services.worker.metrics import WorkerMetrics
from services.worker.providers.size_limits import STREAM_BYTES
from services.worker.replies.stored_bytes import StoredBytes

__all__ = ["ReplyRoom", "ReplySpace"]

_AGAIN_S: Final = 0.1
"""Seconds after which a reply that waits for room looks again."""
_REPEATED_S: Final = 5.0
"""Seconds of waiting after which what was written before is written again: less than replies are surely kept."""
_STUCK_S: Final = 5.0
"""Seconds of waiting for room after which unfinished replies keep nothing from being deleted: else all may wait for
what the oldest one keeps.
"""
_FREE: Final = 256
"""The share of the stream's bytes below which a reply needs no permit: one in so many."""
_STEP: Final = 64
"""The share that a large reply reserves at a time, likewise."""
_SLOW_STEP: Final = 1024
"""The share that stays reserved for a slow reply, likewise. All of these together must be less than what lies between
the fill at which routers delete and the margin: else a reply waits, and nothing is deleted for it."""
_SLOW_S: Final = 1.0
"""Seconds after which a reply that has not written what it reserved is a slow one."""
_REPORTED: Final = 4
"""The share of what a reply may write without a permit from which on an account is reported, likewise: so routers know
of each account whose large replies wait."""
_MARGIN: Final = 16
"""The share that is kept free for small replies, likewise."""


class ReplySpace:
    """What one reply has written, and how much it may write."""

    def __init__(self, room: ReplyRoom, account: str, granted: int) -> None:
        self.account = account
        self.granted = granted
        self.written = 0
        self.counted = 0
        """Of `written`, the bytes that are in the figures of the account."""
        self.granted_s = self.permitted_s = loop_now_s()
        """When it got room the last time, and first with its permit."""
        self.waits = False
        """It waits for a permit or for room."""
        self._room = room
        self._permit: AsyncExitStack | None = None
        """Set by a reply that needs one."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._room.leave(self)
        if self._permit is not None:
            await self._permit.aclose()

    async def extend(self, size: int) -> bool:
        """Wait until `size` more bytes have room. Returns whether that took so long that what was written before may
        have been deleted.
        """
        began_s = loop_now_s()
        self.waits = True  # also after a deadline ended the wait
        if self._permit is None:
            self._permit = AsyncExitStack()
        is_first = await self._room.extend(self, size, self._permit)
        self.waits = False
        return is_first and loop_now_s() - began_s > _REPEATED_S


class ReplyRoom:
    """The room of all replies of one worker."""

    def __init__(
        self,
        bound: int,
        read_size: Callable[[], Awaitable[int | None]],
        workers: Callable[[], int],
        metrics: WorkerMetrics,
    ) -> None:
        """`bound`: of the stream, in bytes. `read_size`: its bytes now; None: unknown.
        `workers`: how many are alive, this one included.
        """
        self._bound = bound
        self._read_size = read_size
        self._workers = workers
        self._metrics = metrics
        self._permits = FairByteBudget(bound // 2)
        self._free = min(bound // _FREE, KEPT_BYTES)
        self._stored = StoredBytes(self._free // _REPORTED)
        self._large: dict[ReplySpace, None] = {}
        """The replies that have a permit and room, in the order in which they got it."""
        self._waiting_s: dict[ReplySpace, float] = {}
        """Since when a reply waits for room."""

    def space(self, account: str) -> ReplySpace:
        """The space of one reply, which ends inside."""
        return ReplySpace(self, account, self._free)

    def leave(self, space: ReplySpace) -> None:
        """The reply has ended; what it has written stays in the figures of its account."""
        self._count(space)
        self._large.pop(space, None)

    async def extend(self, space: ReplySpace, size: int, permit: AsyncExitStack) -> bool:
        """Take a permit if the reply has none, and reserve room for `size` more bytes. Returns whether it had none."""
        began_s, is_first = loop_now_s(), space not in self._large
        self._count(space)  # before it waits: routers make room for accounts that they know
        if is_first:
            self._permits.resize(self._bound // 2 // self._workers())
            await permit.enter_async_context(self._permits.hold(STREAM_BYTES, space.account))
        needed = max(0, space.written + size - space.granted) + self._bound // _STEP
        self._waiting_s[space] = loop_now_s()
        try:
            # The server is asked each time: it sends no event.
            while self._older_waits(space) or not await self._has_room(space, needed):  # noqa: ASYNC110
                await asyncio.sleep(_AGAIN_S)
        finally:
            del self._waiting_s[space]
        space.granted += needed
        space.granted_s = loop_now_s()
        if (
            is_first
        ):  # only now: from here on routers delete nothing of the account, so there must be room before
            self._large[space] = None
            space.permitted_s = loop_now_s()
        self._metrics.reply_room_wait.observe(loop_now_s() - began_s)
        return is_first

    def report(self) -> tuple[AccountReplies, ...]:
        """For the heartbeat."""
        unfinished_s: dict[str, float] = {}
        for space in self._large:
            self._count(space)
            unfinished_s.setdefault(space.account, space.permitted_s)
        now_s = loop_now_s()
        is_stuck = any(now_s - since_s > _STUCK_S for since_s in self._waiting_s.values())
        return self._stored.report({} if is_stuck else unfinished_s, now_s)

    def _count(self, space: ReplySpace) -> None:
        if space.written > space.counted:
            self._stored.add(space.account, space.written - space.counted, loop_now_s())
            space.counted = space.written

    def _older_waits(self, space: ReplySpace) -> bool:
        """Whether a reply that got room before `space` waits for more: it must end before anything of its time is
        deleted.
        """
        return any(each.waits for each in takewhile(lambda each: each is not space, self._large))

    async def _has_room(self, space: ReplySpace, needed: int) -> bool:
        """Other workers are taken to have reserved as much as this one. While this one has reserved nothing else, there
        is room until routers delete something, however much is needed: so no reply waits for itself.
        """
        stored = await self._read_size()
        if stored is None:
            return False
        reserved = sum(self._reserved_after_return(each) for each in self._large if each is not space)
        if not reserved and stored < self._bound - 2 * self._bound // _MARGIN:
            return True
        return stored + reserved * self._workers() + needed <= self._bound - self._bound // _MARGIN

    def _reserved_after_return(self, space: ReplySpace) -> int:
        """The bytes that a reply has reserved. A slow one returns most of them first, and reserves them again when it
        needs them.
        """
        if loop_now_s() - space.granted_s > _SLOW_S:
            space.granted = min(space.granted, space.written + self._bound // _SLOW_STEP)
        return max(0, space.granted - space.written)
