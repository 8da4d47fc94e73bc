"""The time after which text that a stream holds is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress

from services.edge.http.errors import ClientDisconnected

__all__ = ["ReleaseTimer"]


class ReleaseTimer:
    """Calls `release` once, `after_s` after the first `start`, unless it is stopped before."""

    def __init__(self, release: Callable[[], Awaitable[None]], after_s: float | None) -> None:
        """`after_s`: None: never."""
        self._release = release
        self._after_s = after_s
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._after_s is not None and self._task is None:
            self._task = asyncio.create_task(self._run(self._after_s), name="release")

    @property
    def is_pending(self) -> bool:
        """It was started."""
        return self._task is not None

    def paused(self) -> AbstractAsyncContextManager[None]:
        """`release` does not run inside the block."""
        return self._lock

    async def stop(self) -> None:
        """`release` does not run after this returns; it may be called again."""
        if self._task is not None:
            async with self._lock:
                self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        with suppress(ClientDisconnected):  # raised in the task that follows the reply too
            async with self._lock:
                await self._release()
