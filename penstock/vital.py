"""Loops a process cannot do without: when one ends by itself, the process stops, and its supervisor starts another."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final

__all__ = ["stop_process", "vital"]

_log: Final = logging.getLogger(__name__)


def stop_process() -> None:
    """As an operator would: what runs is drained first."""
    signal.raise_signal(signal.SIGTERM)


def vital(
    loop: Coroutine[Any, Any, None], name: str, on_death: Callable[[], None] = stop_process
) -> asyncio.Task[None]:
    """Run `loop` as a task until it is cancelled; any other end is logged, and `on_death` is called."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            _log.critical("the loop %r ended by itself; stopping", name, exc_info=task.exception())
            on_death()

    task = asyncio.create_task(loop, name=name)
    task.add_done_callback(ended)
    return task
