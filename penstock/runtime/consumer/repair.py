"""A repair that runs in the background while the work goes on, because the fault may end before the repair does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from penstock.runtime.aio import cancel_and_wait

__all__ = ["BackgroundRepair"]

_log: Final = logging.getLogger(__name__)


class BackgroundRepair:
    """Runs `repair` in the background, at most once at a time."""

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
        except Exception:
            _log.exception("%s: the repair failed", self._name)
