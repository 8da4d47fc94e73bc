"""SIGINT, SIGTERM and SIGHUP as an event: the first signal requests an orderly stop, the second an immediate one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from penstock.runtime.processes.stop_signals import stop_signal_numbers

__all__ = ["stop_signals"]

_AT_ONCE: Final = "Killing all processes at once."


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
