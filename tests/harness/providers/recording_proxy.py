"""A proxy before a provider's port that keeps every request body: what really left for the provider."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

__all__ = ["RecordingProxy"]

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class RecordingProxy:
    """Forwards connections to a loopback port."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._sent: list[bytearray] = []
        """What the client of each connection sent."""
        self._passing: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def before(cls, url: str, port: int) -> AsyncIterator[RecordingProxy]:
        proxy = cls(url)
        server = await asyncio.start_server(proxy._connected, "127.0.0.1", port)
        try:
            yield proxy
        finally:
            server.close()
            for task in proxy._passing:
                task.cancel()
            await asyncio.gather(*proxy._passing, return_exceptions=True)

    def bodies(self) -> Iterator[bytes]:
        """Every body, the last one of a connection also if it is not complete."""
        for sent in self._sent:
            rest = bytes(sent)
            while rest:
                head, _, rest = rest.partition(b"\r\n\r\n")
                length = _LENGTH.search(head)
                size = int(length[1]) if length else 0
                if size:
                    yield rest[:size]
                rest = rest[size:]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = bytearray()
        self._sent.append(sent)
        far_reader, far_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        for passing in (_pass_on(reader, far_writer, sent), _pass_on(far_reader, writer)):
            task = asyncio.create_task(passing)
            self._passing.add(task)
            task.add_done_callback(self._passing.discard)


async def _pass_on(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, kept: bytearray | None = None
) -> None:
    try:
        while data := await source.read(65536):
            if kept is not None:
                kept += data
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        pass  # one end is gone; closing below ends the other
    finally:
        sink.close()
