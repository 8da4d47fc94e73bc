"""A bound on the bytes of large bodies that a process holds in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["ByteBudget"]


class ByteBudget:
    def __init__(self, limit: int) -> None:
        """`limit`: bytes; `hold` takes a larger body alone."""
        self._limit = limit
        self._held = 0
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
            self.release(size)

    def try_hold(self, size: int) -> bool:
        """Hold `size` bytes until `release`, if they are free now."""
        if self._held + size > self._limit:
            return False
        self._held += size
        return True

    def release(self, size: int) -> None:
        """Return what `try_hold` took."""
        self._held -= size
        self._released.set()
