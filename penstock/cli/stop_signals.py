"""SIGINT, SIGTERM and SIGHUP as an event: the first signal requests an orderly stop, the second an immediate one.

Before the event loop runs, SIGINT raises KeyboardInterrupt.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from penstock.runtime.processes.stop_signals import stop_signal_numbers

__all__ = ["run", "stop_signals"]

_T = TypeVar("_T")

_AT_ONCE: Final = "Killing all processes at once."


def run(start: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Run what `start` returns as `asyncio.run` does, with SIGINT held back until the event loop exists.

    A loop whose creation is interrupted prints a traceback when it is collected. For the main thread only.
    """
    runner = asyncio.Runner()
    arrived: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: arrived.append(number))
    try:
        runner.get_loop()
    finally:
        signal.signal(signal.SIGINT, before)
    with runner:
        if arrived:
            signal.raise_signal(signal.SIGINT)
        return runner.run(start())


@contextmanager
def stop_signals(say: Callable[[str], None], kill: Callable[[], None]) -> Iterator[asyncio.Event]:
    """An event that the first signal sets; each later one calls `kill` and cancels the current task, and `say` gets a
    line about it.

    For the main thread only.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("stop_signals needs a running task")
    requested = asyncio.Event()

    def on_signal() -> None:
        if requested.is_set():
            say(_AT_ONCE)
            kill()
            task.cancel()
        requested.set()

    loop, numbers = asyncio.get_running_loop(), stop_signal_numbers()
    for number in numbers:
        loop.add_signal_handler(number, on_signal)
    try:
        yield requested
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
