"""uvicorn inside a process that has its own signals, without timers while it is idle.

uvicorn itself looks ten times a second whether it has to stop, and writes a new date once a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate

import uvicorn
from uvicorn.server import ServerState

__all__ = ["Server"]


class Server(uvicorn.Server):
    """Serves until `stop`. Signals are the caller's: uvicorn would raise them again and falsify the exit code."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.server_state = _State(config)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Accept no more connections, and return from `serve` when the responses in progress are sent."""
        self.should_exit = True
        self._stopping.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self._stopping.wait()


class _State(ServerState):
    """Has the headers that each response begins with, with the date of the response."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__()
        self._config = config
        self._second = 0
        self._headers: list[tuple[bytes, bytes]] = []

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        second = int(time.time())
        if second != self._second:
            self._second = second
            date = [(b"date", formatdate(second, usegmt=True).encode())] if self._config.date_header else []
            self._headers = date + self._config.encoded_headers
        return self._headers

    @default_headers.setter
    def default_headers(self, _: list[tuple[bytes, bytes]]) -> None:
        """Uvicorn sets an empty list first."""
