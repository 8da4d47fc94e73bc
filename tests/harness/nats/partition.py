"""A proxy that stops forwarding without closing its connections, as a network partition does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

__all__ = ["Partition"]


class Partition:
    """Listens on loopback and forwards bytes in both directions while it is not cut."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._whole = asyncio.Event()
        self._whole.set()
        self._passing: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def before(cls, url: str) -> AsyncIterator[Partition]:
        partition = cls(url)
        server = await asyncio.start_server(partition._connected, "127.0.0.1", 0)
        partition.url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield partition
        finally:
            server.close()
            for task in partition._passing:
                task.cancel()
            await asyncio.gather(*partition._passing, return_exceptions=True)

    def cut(self) -> None:
        """Withhold all bytes in both directions until `heal`."""
        self._whole.clear()

    def sever(self) -> None:
        """Cut, and break the open connections; new ones wait until `heal`."""
        self.cut()
        for task in self._passing:
            task.cancel()

    def heal(self) -> None:
        self._whole.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pass_on(source, sink))
            self._passing.add(task)
            task.add_done_callback(self._passing.discard)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._whole.wait()
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass  # one end is gone; closing below ends the other
        finally:
            sink.close()
