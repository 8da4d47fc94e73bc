"""Comments in a stream whose request waits, so that the client and every proxy on the way see that it is alive."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

__all__ = ["QueueComments"]

_EVERY_S: Final = 1.0


class QueueComments:
    """Calls `write` once a second, beginning `after_s` after `start`, until `stop`."""

    def __init__(
        self, write: Callable[[], Awaitable[None]], after_s: float, on_error: Callable[[Exception], None]
    ) -> None:
        """`on_error` is called with what `write` raises, which ends the comments."""
        self._write = write
        self._on_error = on_error
        self._after_s = after_s
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._after_s, self._begin)

    @property
    def is_active(self) -> bool:
        """`stop` was not called since `start`."""
        return self._timer is not None or self._task is not None

    async def stop(self) -> None:
        """Nothing is written after this returns; it may be called again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.wait({task})

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._run(), name="queue comments")

    async def _run(self) -> None:
        try:
            while True:
                await self._write()
                await asyncio.sleep(_EVERY_S)
        except Exception as error:  # noqa: BLE001 - raised in the task that follows the reply
            self._on_error(error)
