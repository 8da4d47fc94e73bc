"""Bounds on the bytes that a process holds in memory: in the order of arrival, or shared between owners."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import Struct

__all__ = ["ByteBudget", "FairByteBudget"]


class ByteBudget:
    def __init__(self, limit: int, *, share: int | None = None) -> None:
        """`limit`: bytes; `hold` takes a larger body alone. `share`: bytes that `try_hold` gives one owner."""
        self._limit = limit
        self._share = limit if share is None else share
        self._held = 0
        self._held_by: Counter[str] = Counter()
        self._turn = asyncio.Lock()
        self._released = asyncio.Event()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Wait until `size` bytes are free, in the order of arrival, and hold them inside."""
        async with self._turn:
            while self._held and self._held + size > self._limit:
                self._released.clear()
                await self._released.wait()
            self._held += size
        try:
            yield
        finally:
            self._return(size)

    def try_hold(self, size: int, owner: str) -> bool:
        """Hold `size` bytes until `release`, if they are free now and the owner has not used its share."""
        if self._held + size > self._limit or self._held_by[owner] + size > self._share:
            return False
        self._held += size
        self._held_by[owner] += size
        return True

    def release(self, size: int, owner: str) -> None:
        """Return what `try_hold` took."""
        self._held_by[owner] -= size
        if not self._held_by[owner]:
            del self._held_by[owner]
        self._return(size)

    def _return(self, size: int) -> None:
        self._held -= size
        self._released.set()


class _Waiting(Struct, frozen=True, eq=False):
    size: int
    admitted: asyncio.Future[None]


class FairByteBudget:
    """Owners take turns, and one holds at most half of the bytes: the rest is free for others."""

    def __init__(self, limit: int) -> None:
        """`limit`: bytes; a request of more is admitted alone."""
        self._limit = limit
        self._share = limit // 2
        self._held = 0
        self._held_by: Counter[str] = Counter()
        self._queues: dict[str, deque[_Waiting]] = {}
        """By owner, in the order of their turns."""

    def resize(self, limit: int) -> None:
        """Bytes from now on; what is held stays held."""
        self._limit = limit
        self._share = limit // 2

    @asynccontextmanager
    async def hold(self, size: int, owner: str) -> AsyncIterator[None]:
        """Wait until `size` bytes are free for the owner, and hold them inside."""
        waiting = _Waiting(size, asyncio.get_running_loop().create_future())
        self._queues.setdefault(owner, deque()).append(waiting)
        self._admit()
        try:
            await waiting.admitted
            yield
        finally:
            self._leave(waiting, owner)

    def _leave(self, waiting: _Waiting, owner: str) -> None:
        if waiting.admitted.done() and not waiting.admitted.cancelled():
            self._held -= waiting.size
            self._held_by[owner] -= waiting.size
            if not self._held_by[owner]:
                del self._held_by[owner]
        else:
            self._remove(waiting, owner)
        self._admit()

    def _remove(self, waiting: _Waiting, owner: str) -> None:
        queue = self._queues[owner]
        queue.remove(waiting)
        if not queue:
            del self._queues[owner]

    def _admit(self) -> None:
        while (owner := self._next_owner()) is not None:
            waiting = self._queues[owner][0]
            if self._held and self._held + waiting.size > self._limit:
                return  # none overtakes it, so that a large one gets its turn
            self._held += waiting.size
            self._held_by[owner] += waiting.size
            self._remove(waiting, owner)
            if owner in self._queues:
                self._queues[owner] = self._queues.pop(owner)  # to the end
            waiting.admitted.set_result(None)

    def _next_owner(self) -> str | None:
        """Of the owners whose next request is within their share, the one that holds the least."""
        owners = [owner for owner in self._queues if self._is_within_share(owner)]
        return min(owners, key=self._held_by.__getitem__, default=None)

    def _is_within_share(self, owner: str) -> bool:
        waiting, held = self._queues[owner][0], self._held_by[owner]
        if waiting.admitted.cancelled():
            return False  # it is about to leave
        return not held or held + waiting.size <= self._share
