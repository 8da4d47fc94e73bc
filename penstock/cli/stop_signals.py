"""SIGINT, SIGTERM and SIGHUP as an event: the first signal requests an orderly stop, the second an immediate one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["StopSignals", "stop_signals"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """The first signal sets `requested`; every later one cancels the watching task."""

    def __init__(self, task: asyncio.Task[object]) -> None:
        self.requested = asyncio.Event()
        self._task = task

    def on_signal(self) -> None:
        if self.requested.is_set():
            self._task.cancel()
        self.requested.set()


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Watch signals for the current task, in the main thread."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("stop_signals needs a running task")
    signals = StopSignals(task)
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, signals.on_signal)
    try:
        yield signals
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
