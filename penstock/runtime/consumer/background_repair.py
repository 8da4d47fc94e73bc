"""The repair of a consumer that seems to be missing, beside the loop that pulls from it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from penstock.bus.log_limits import rate_limited_logger
from penstock.runtime.aio import cancel_and_wait

__all__ = ["BackgroundRepair"]

_log: Final = rate_limited_logger(__name__, by="text")


class BackgroundRepair:
    """Runs `repair` in the background, at most once at a time: the fault may end before the repair does."""

    def __init__(self, name: str, repair: Callable[[], Awaitable[None]]) -> None:
        self._name = name
        self._repair = repair
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def _run(self) -> None:
        try:
            await self._repair()
        except Exception:  # noqa: BLE001 - the pull loop asks for it again
            _log.exception("%s: the repair failed", self._name)
