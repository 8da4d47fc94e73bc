"""Ctrl-C and SIGTERM as an event: the first asks for an orderly stop, the second for an immediate one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["StopSignals", "stop_signals"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """`asked` is set by the first signal; every later one cancels the task that watches."""

    def __init__(self, task: asyncio.Task[object]) -> None:
        self.asked = asyncio.Event()
        self._task = task

    def arrived(self) -> None:
        if self.asked.is_set():
            self._task.cancel()
        self.asked.set()


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Watch for the current task, in the main thread."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("stop signals are watched by a task")
    signals = StopSignals(task)
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, signals.arrived)
    try:
        yield signals
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
