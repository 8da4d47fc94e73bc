"""Progress events of one request, at most two a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from penstock.bus.log_limits import rate_limited_logger
from penstock.runtime.aio import cancel_and_wait

__all__ = ["ProgressReporter"]

_log: Final = rate_limited_logger(__name__)
_EVERY_S: Final = 0.5


class ProgressReporter:
    def __init__(self, send: Callable[[], Awaitable[None]], every_s: float = _EVERY_S) -> None:
        self._send = send
        self._every_s = every_s
        self._changed = asyncio.Event()

    def note(self) -> None:
        self._changed.set()

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Inside, changes are sent; the last ones are not: the terminal event has all counts."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            await cancel_and_wait(task)

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._send()
            except Exception as error:  # noqa: BLE001 - the connection is lost; the end of the request is repeated
                _log.warning("the progress of a request cannot be sent now: %r", error)
            await asyncio.sleep(self._every_s)
