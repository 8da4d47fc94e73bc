"""The time after which text that a stream holds is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

__all__ = ["ReleaseTimer"]


class ReleaseTimer:
    """Calls `release` once, `after_s` after the first `start`, unless it is stopped before."""

    def __init__(
        self,
        release: Callable[[], Awaitable[None]],
        after_s: float | None,
        on_error: Callable[[Exception], None],
    ) -> None:
        """`after_s`: None: never. `on_error` is called with what `release` raises."""
        self._release = release
        self._after_s = after_s
        self._on_error = on_error
        self._error: Exception | None = None
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._after_s is not None and self._task is None:
            self._task = asyncio.create_task(self._run(self._after_s), name="release")

    @property
    def is_pending(self) -> bool:
        """It was started."""
        return self._task is not None

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """`release` does not run inside the block. Raises what it has raised."""
        async with self._lock:
            if self._error is not None:
                raise self._error
            yield

    async def stop(self) -> None:
        """`release` does not run after this returns; it may be called again."""
        if self._task is not None:
            async with self._lock:
                self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        async with self._lock:
            try:
                await self._release()
            except Exception as error:  # noqa: BLE001 - raised in the task that follows the reply
                self._error = error
                self._on_error(error)
