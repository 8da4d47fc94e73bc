"""Room in `LLM_REPLIES`: all workers together write no more than the stream holds.

There is room while the stream is filled to `REPLIES_SCARCE` at most. Above it, routers delete replies of the accounts
that have the most (services/router/replies), and only this is written:

- A reply of more than 1/256 of the stream has a permit, of which each worker has so many that all large replies that
  are being written take at most half of the stream, and an account at most half of the permits. It may write its window
  beyond what the server had stored when there was room. All windows of all workers are 1/32 of the stream.
- All other replies of an account may write 1/64 of the stream after there was room.

So workers need to know nothing of each other but their number: what one of them may still write does not depend on what
the others do, and what is written counts until the server has stored it, which every worker then reads. While there is
no room the worker reads nothing more from the provider.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

from penstock.bus.clock import loop_now_s
from penstock.contract.presence import AccountReplies
from penstock.contract.streams import REPLIES_SCARCE
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
_SLICE: Final = 64
"""The share of these bytes that such a reply takes at a time, likewise."""
_ALLOWANCE: Final = 64
"""The share of the stream's bytes for the replies of an account without permits, likewise."""
_WINDOWS: Final = 32
"""The share for the windows of all large replies, likewise."""
_REPORTED: Final = 4
"""The share of what a reply may write without a permit from which on an account is reported, likewise: so routers know
of each account whose large replies wait."""
_MOST_ACCOUNTS: Final = 1000
"""Accounts whose allowance is counted; those that used the least of it are dropped."""


class ReplySpace:
    """What one reply has written, and how much it may write."""

    def __init__(self, room: ReplyRoom, account: str) -> None:
        self.account = account
        self.granted = 0
        self.written = 0
        self.counted = 0
        """Of `written`, the bytes that are in the figures of the account."""
        self.needed = 0
        """What has to be granted for the event that waits for room, or was the last one to wait."""
        self.has_permit = False
        self.permitted_s = loop_now_s()
        """When it had room with its permit first."""
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
        self._room.leave(self, is_large=self._permit is not None)
        if self._permit is not None:
            await self._permit.aclose()

    async def extend(self, size: int) -> bool:
        """Wait until `size` more bytes have room. Returns whether that took so long that what was written before may
        have been deleted.
        """
        self.needed = self.written + size
        self.waits = True  # also after a deadline ended the wait
        is_first, began_s = False, loop_now_s()
        if self._permit is None and self._room.is_small(self):
            await self._room.extend_small(self)
        else:
            if self._permit is None:
                self._room.return_unused(self)
                self._permit = AsyncExitStack()
            is_first = await self._room.extend_large(self, self._permit)
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
        """`bound`: of the stream, in bytes. `read_size`: its bytes now, with everything that this worker wrote before;
        None: unknown. `workers`: how many are alive, this one included.
        """
        self._bound = bound
        self._read_size = read_size
        self._workers = workers
        self._metrics = metrics
        self._permits = FairByteBudget(bound // 2)
        self._free = min(bound // _FREE, KEPT_BYTES)
        self._stored = StoredBytes(self._free // _REPORTED)
        self._small: Counter[str] = Counter()
        """Bytes granted without a permit to each account since there was room."""
        self._large: dict[ReplySpace, None] = {}
        """The replies that have a permit and had room, in the order in which they got it."""
        self._waiting_s: dict[ReplySpace, float] = {}
        """Since when a large reply waits for room."""
        self._turn = asyncio.Lock()
        """Held by the reply that looks for room, for all that wait."""

    def space(self, account: str) -> ReplySpace:
        """The space of one reply, which ends inside."""
        space = ReplySpace(self, account)
        if self._fits_small(space):
            self._grant_small(space)
        return space

    def leave(self, space: ReplySpace, *, is_large: bool) -> None:
        """The reply has ended; what it has written stays in the figures of its account."""
        self._count(space)
        self._large.pop(space, None)
        if not is_large:
            self.return_unused(space)

    def is_small(self, space: ReplySpace) -> bool:
        """Whether the reply needs no permit yet."""
        return space.needed <= self._free

    def return_unused(self, space: ReplySpace) -> None:
        """The reply writes no more without a permit."""
        left = self._small.pop(space.account, 0) - max(0, space.granted - space.written)
        if left > 0:
            self._small[space.account] = left
        space.granted = space.written

    async def extend_small(self, space: ReplySpace) -> None:
        """Grant what the reply needs, from the allowance of its account."""
        if not self._fits_small(space):
            self._count(space)
            await self._wait(space, lambda: self._fits_small(space))
        self._grant_small(space)

    async def extend_large(self, space: ReplySpace, permit: AsyncExitStack) -> bool:
        """Take a permit if the reply has none, and grant what the reply needs, and its window. Returns whether it had
        no room with a permit before.
        """
        began_s, is_first = loop_now_s(), space not in self._large
        self._count(space)  # before it waits: routers make room for accounts that they know
        if not space.has_permit:
            self._permits.resize(self._bound // 2 // self._workers())
            await permit.enter_async_context(self._permits.hold(STREAM_BYTES, space.account))
            space.has_permit = True
        self._waiting_s[space] = loop_now_s()
        try:
            await self._wait(space, lambda: space.granted >= space.needed)
        finally:
            del self._waiting_s[space]
        if is_first:
            # Only now: from here on routers delete nothing of the account, so there must be room before.
            self._large[space] = None
            space.permitted_s = loop_now_s()
        self._metrics.reply_room_wait.observe(loop_now_s() - began_s)
        return is_first

    def report(self) -> tuple[AccountReplies, ...]:
        """For the heartbeat."""
        if len(self._small) > _MOST_ACCOUNTS:
            self._small = Counter(dict(self._small.most_common(_MOST_ACCOUNTS)))
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

    def _small_step(self, space: ReplySpace) -> int:
        return max(space.needed - space.granted, self._free // _SLICE)

    def _fits_small(self, space: ReplySpace) -> bool:
        used = self._small[space.account]
        return not used or used + self._small_step(space) <= self._bound // _ALLOWANCE // self._workers()

    def _grant_small(self, space: ReplySpace) -> None:
        step = self._small_step(space)
        self._small[space.account] += step
        space.granted += step

    async def _wait(self, space: ReplySpace, has_room: Callable[[], bool]) -> None:
        async with self._turn:
            while not has_room():
                await self._look(space)
                if not has_room():
                    await asyncio.sleep(_AGAIN_S)  # the server sends no event

    async def _look(self, first: ReplySpace) -> None:
        """Grant something to each reply if there is room. `first`: the one whose turn it is."""
        written = {space: space.written for space in (*self._large, *self._waiting_s)}
        small = Counter(self._small)
        stored = await self._read_size()
        if stored is None or stored > self._bound * REPLIES_SCARCE:
            return
        self._small -= small
        window = self._window()
        beyond = [space for space, size in written.items() if space.granted > size + window]
        for space, size in written.items():
            space.granted = max(space.granted, size + window)
        if first in written and beyond in ([], [first]):
            # An event larger than a window: one at a time in each worker.
            first.granted = max(first.granted, first.needed)

    def _window(self) -> int:
        """At most so many large replies are being written: as many as half of the stream holds, or one in each
        worker.
        """
        return self._bound // _WINDOWS // max(self._workers(), self._bound // 2 // STREAM_BYTES)
