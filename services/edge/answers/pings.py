"""Pings in a silent stream, for clients that do not count comments as a sign of life."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

__all__ = ["Pings"]

_AFTER_S: Final = 10.0


class Pings:
    """Calls `write` whenever nothing was sent for 10 s, from `start` until `stop`."""

    def __init__(self, write: Callable[[], Awaitable[None]], on_error: Callable[[Exception], None]) -> None:
        """`on_error` is called with what `write` raises, which ends the pings."""
        self._write = write
        self._on_error = on_error
        self._sent_s = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.sent()
        self._task = asyncio.create_task(self._run(), name="pings")

    def sent(self) -> None:
        """An event was sent just now."""
        self._sent_s = asyncio.get_running_loop().time()

    async def stop(self) -> None:
        """Nothing is written after this returns; it may be called again."""
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.wait({task})

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                await asyncio.sleep(self._sent_s + _AFTER_S - loop.time())
                if loop.time() - self._sent_s >= _AFTER_S:
                    await self._write()
                    self.sent()
        except Exception as error:  # noqa: BLE001 - raised in the task that follows the reply
            self._on_error(error)
