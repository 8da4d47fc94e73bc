"""A proxy before a provider's port that a test opens and closes without starting a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from typing import Final
from urllib.parse import urlsplit

__all__ = ["PortProxy", "pass_on"]

_PIECE_BYTES: Final = 64 * 1024


class PortProxy:
    """Forwards connections to a loopback port while it is open; nothing listens on the port while it is closed."""

    def __init__(self, port: int, url: str) -> None:
        self._port = port
        self._target = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def before(cls, url: str, port: int) -> AsyncIterator[PortProxy]:
        proxy = cls(port, url)
        await proxy.open()
        try:
            yield proxy
        finally:
            await proxy.close()

    @asynccontextmanager
    async def closed_for(self, seconds: float) -> AsyncIterator[None]:
        """Close the port for `seconds` from the start of the body; leaving the body waits until it is open again."""
        await self.close()
        opening = asyncio.create_task(self._open_after(seconds))
        try:
            yield
        finally:
            await opening

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)

    async def close(self) -> None:
        """Stop listening and break the open connections."""
        if self._server is not None:
            self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def _open_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.open()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(pass_on(source, sink))
            self._passing.add(task)
            task.add_done_callback(self._passing.discard)


async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copy bytes until one end is gone; then the other one is closed."""
    with suppress(OSError), closing(sink):
        while data := await source.read(_PIECE_BYTES):
            sink.write(data)
            await sink.drain()
