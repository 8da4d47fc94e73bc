"""SIGINT, SIGTERM and SIGHUP as an event: the first signal requests an orderly stop, the second an immediate one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["stop_signals"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """An event that the first signal sets; each later one cancels the current task. For the main thread only."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("stop_signals needs a running task")
    requested = asyncio.Event()

    def on_signal() -> None:
        if requested.is_set():
            task.cancel()
        requested.set()

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        yield requested
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
