"""Loops a process cannot do without: when one ends by itself, the process stops, and its supervisor starts another."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final

from penstock.runtime.halt import halt

__all__ = ["VitalLoop"]

_log: Final = logging.getLogger(__name__)


def _stop_process() -> None:
    """As an operator would: what runs is drained first."""
    signal.raise_signal(signal.SIGTERM)


class VitalLoop:
    """One loop, run as a task until it is stopped; any other end is logged, and `on_death` is called."""

    def __init__(self, name: str, on_death: Callable[[], None] = _stop_process) -> None:
        self._name = name
        self._on_death = on_death
        self._task: asyncio.Task[None] | None = None

    def start(self, loop: Coroutine[Any, Any, None]) -> None:
        self._task = asyncio.create_task(loop, name=self._name)
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Returns when the loop has ended; at once where it never began."""
        if self._task is not None:
            await halt(self._task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            _log.critical("the loop %r ended by itself; stopping", self._name, exc_info=task.exception())
            self._on_death()
