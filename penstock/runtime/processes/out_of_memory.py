"""The end of a process that cannot allocate memory, so that its supervisor starts it again.

A connection whose data cannot be read for want of memory would be made again for ever, and a loop that died of it would
be missing. Where one request alone needs too much memory, its handler fails, and the process goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from penstock.runtime.telemetry.logs import written_time

__all__ = ["EXIT_CODE", "end_when_out_of_memory"]

EXIT_CODE: Final = 1
_STDERR: Final = 2


def end_when_out_of_memory(loop: asyncio.AbstractEventLoop, line: str) -> None:
    """Let the process write `line`, a JSON object to which the time `at` is added, to stderr and end with `EXIT_CODE`
    when a callback or a task of `loop`, or a thread, failed with MemoryError. Nothing is drained: what it held is
    delivered to another process.
    """
    end = _end_with(line.encode() + b"\n")

    def on_error(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        if isinstance(context.get("exception"), MemoryError):
            end()
        loop.default_exception_handler(dict(context))

    loop.set_exception_handler(on_error)
    in_thread = threading.excepthook

    def on_thread_error(failure: threading.ExceptHookArgs) -> None:
        if issubclass(failure.exc_type, MemoryError):
            end()
        in_thread(failure)

    threading.excepthook = on_thread_error


def _end_with(line: bytes) -> Callable[[], None]:
    """`line` exists before memory is short."""

    def end() -> None:
        try:
            for handler in logging.getLogger().handlers:
                handler.flush()
            os.write(_STDERR, _with_time(line))
        finally:
            os._exit(EXIT_CODE)

    return end


def _with_time(line: bytes) -> bytes:
    """Without the time where no memory is left for it."""
    try:
        return b'{"at": "%b", %b' % (written_time(time.time()).encode(), line.removeprefix(b"{"))
    except MemoryError:
        return line
