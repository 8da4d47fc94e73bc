"""Room in `LLM_REPLIES`: all workers together write no more than the stream holds.

There is room while the stream is filled to `REPLIES_SCARCE` at most. Above it, routers delete replies of the accounts
that have the most (services/router/replies), and workers write only this of answers:

- A reply of more than 1/256 of the stream, at most 1 MiB, has a permit. Each worker has its part of as many permits as
  half of the stream holds large replies, and at least two; an account has at most half of those of a worker. A reply
  with a permit may write its window beyond what the server had stored when there was room. The windows of all workers
  are 1/32 of the stream.
- All other replies of an account may write 1/64 of the stream after there was room, or one reply in each worker if that
  is more.

So workers need to know nothing of each other but their number: what one of them may still write does not depend on what
the others do, and what is written counts until the server has stored it, which every worker then reads. While there is
no room the worker reads nothing more from the provider.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from penstock.bus.clock import loop_now_s
from penstock.contract.presence import AccountReplies
from penstock.contract.streams import REPLIES_LEAST_AGE_S, REPLIES_SCARCE
from penstock.runtime.byte_budget import FairByteBudget
from penstock.runtime.reply_publisher import KEPT_BYTES
from services.worker.metrics import WorkerMetrics
from services.worker.providers.size_limits import STREAM_BYTES
from services.worker.replies.stored_bytes import StoredBytes

__all__ = ["ReplyRoom", "ReplySpace"]

_AGAIN_S: Final = 0.1
"""Seconds between two looks at a stream without room."""
_REPEATED_S: Final = 5.0
"""Seconds of waiting after which what was written before is written again: less than replies are surely kept."""
_STUCK_S: Final = REPLIES_LEAST_AGE_S + 5.0
"""Seconds of waiting for room after which unfinished replies keep nothing from being deleted: else all may wait for
what the oldest one keeps. A stream that was filled at once has room earlier, when its first replies are old enough to
be deleted.
"""
_FREE: Final = 256
"""The share of the stream's bytes below which a reply needs no permit: one in so many."""
_LEAST_PERMITS: Final = 2
"""Of each worker. With only one, slow replies of one account stop the large replies of all others."""
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

    def __init__(self, room: ReplyRoom, account: str, permit: AsyncExitStack) -> None:
        self.account = account
        self.written = 0
        self.granted = 0
        """What it may write in all; without a permit at least what it has written."""
        self.has_permit = False
        self.permit = permit
        """Releases the permit at the end of the reply."""
        self.waits = False
        """It waits for a permit or for room."""
        self._room = room

    def take(self, size: int) -> bool:
        """Take room for `size` more bytes if that needs no wait. What was taken before and is not written yet is a part
        of it.
        """
        return self._room.take(self, size)

    async def extend(self, size: int) -> bool:
        """As `take`, with waiting. Returns whether that took so long that what was written before may have been
        deleted.
        """
        return await self._room.extend(self, size)

    def add(self, size: int) -> None:
        """So many bytes are written."""
        self._room.add(self, size)


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
        self._open: dict[ReplySpace, None] = {}
        """The replies that have not ended."""
        self._small: Counter[str] = Counter()
        """Bytes taken without a permit by each account since there was room."""
        self._large_s: dict[ReplySpace, float] = {}
        """Since when each reply with a permit has had room, in this order."""
        self._waiting_s: dict[ReplySpace, float] = {}
        """Since when a reply with a permit waits for room, in this order."""
        self._turn = asyncio.Lock()
        """Held by the reply that looks for room, for all that wait."""
        self._looks = 0
        self._next_look_s = 0.0

    @asynccontextmanager
    async def space(self, account: str) -> AsyncIterator[ReplySpace]:
        """The space of one reply, which ends inside; what it has written stays in the figures of its account."""
        async with AsyncExitStack() as permit:
            space = ReplySpace(self, account, permit)
            self._open[space] = None
            try:
                yield space
            finally:
                del self._open[space]
                self._large_s.pop(space, None)
                self._return_unwritten(space)

    def take(self, space: ReplySpace, size: int) -> bool:
        needed = space.written + size
        if needed > space.granted and not space.has_permit and needed <= self._free:
            used = self._small[space.account] + needed - space.granted
            if used <= self._free or used <= self._bound // _ALLOWANCE // self._workers():
                self._small[space.account] = used
                space.granted = needed
        return needed <= space.granted

    def add(self, space: ReplySpace, size: int) -> None:
        space.written += size
        self._stored.add(space.account, size, loop_now_s())
        if (
            not space.has_permit and space.written > space.granted
        ):  # its envelope, or an event that is not waited for
            self._small[space.account] += space.written - space.granted
            space.granted = space.written

    async def extend(self, space: ReplySpace, size: int) -> bool:
        began_s = loop_now_s()
        space.waits = True  # also after a deadline ended the wait
        if not space.has_permit and space.written + size > self._free:
            await self._take_permit(space)
        is_first = space.has_permit and space not in self._large_s
        if space.has_permit:
            self._waiting_s[space] = loop_now_s()
        try:
            while not self.take(space, size):
                await self._look(space, size)
        finally:
            self._waiting_s.pop(space, None)
        space.waits = False
        if is_first:
            # Only now: from here on routers delete nothing of the account, so there must be room before.
            self._large_s[space] = loop_now_s()
        self._metrics.reply_room_wait.observe(loop_now_s() - began_s)
        return is_first and loop_now_s() - began_s > _REPEATED_S

    def report(self) -> tuple[AccountReplies, ...]:
        """For the heartbeat."""
        if len(self._small) > _MOST_ACCOUNTS:
            self._small = Counter(dict(self._small.most_common(_MOST_ACCOUNTS)))
        unfinished_s: dict[str, float] = {}
        for space, since_s in self._large_s.items():
            unfinished_s.setdefault(space.account, since_s)
        now_s = loop_now_s()
        is_stuck = any(now_s - since_s > _STUCK_S for since_s in self._waiting_s.values())
        return self._stored.report({} if is_stuck else unfinished_s, now_s)

    async def _take_permit(self, space: ReplySpace) -> None:
        self._permits.resize(max(_LEAST_PERMITS * STREAM_BYTES, self._bound // 2 // self._workers()))
        await space.permit.enter_async_context(self._permits.hold(STREAM_BYTES, space.account))
        self._return_unwritten(space)
        space.has_permit = True

    def _return_unwritten(self, space: ReplySpace) -> None:
        """The reply writes no more without a permit."""
        if not space.has_permit:
            left = self._small[space.account] - (space.granted - space.written)
            self._small[space.account] = max(0, left)
            space.granted = space.written

    async def _look(self, space: ReplySpace, size: int) -> None:
        """Look for room once, or wait for the look of another reply."""
        seen = self._looks
        async with self._turn:
            if self._looks == seen:
                await asyncio.sleep(self._next_look_s - loop_now_s())  # the server sends no event
                await self._grant(space, size)
                self._looks += 1
                if not self.take(space, size):
                    self._next_look_s = loop_now_s() + _AGAIN_S

    async def _grant(self, first: ReplySpace, size: int) -> None:
        """Grant something to each reply if there is room, and `size` to `first`."""
        written = {space: space.written for space in self._open if space.has_permit}
        small = Counter(self._small)
        for space in self._open.keys() - written.keys():
            small[space.account] -= space.granted - space.written
        stored = await self._read_size()
        if stored is None or stored > self._bound * REPLIES_SCARCE:
            return
        self._small -= small
        window = self._window()
        beyond = [space for space, before in written.items() if space.granted > before + window]
        for space, before in written.items():
            space.granted = max(space.granted, before + window)
        if first in written and beyond in ([], [first]):
            # An event larger than a window: one at a time in each worker.
            first.granted = max(first.granted, first.written + size)

    def _window(self) -> int:
        """What one large reply may write beyond what was stored when there was room."""
        most_replies = max(_LEAST_PERMITS * self._workers(), self._bound // 2 // STREAM_BYTES)
        return self._bound // _WINDOWS // most_replies
