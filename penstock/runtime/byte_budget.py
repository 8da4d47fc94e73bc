"""A bound on the bytes of large bodies that a process holds in memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["ByteBudget"]


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
