"""The TCP connection under a request: notices its loss, bounds its headers, and can be aborted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

__all__ = ["STATE_KEY", "Connection"]

STATE_KEY: Final = "connection"
"""Key of a request's Connection in the ASGI scope: `scope["state"][STATE_KEY]`."""
_HEADERS_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)
_HEADERS_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Connection(HttpToolsProtocol):
    """uvicorn's protocol, with a callback at its loss, and with limits on the head of a request, which it lacks."""

    header_bytes: int = 64 * 1024
    header_s: float = 30.0

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.is_lost = False
        self.on_lost: Callable[[], None] | None = None
        self._head_received: int | None = None
        """Bytes received of an incomplete request head; None between heads."""
        self._head_timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_received is None:
            return
        self._head_received += len(data)
        if self._head_received > self.header_bytes:
            self._refuse(_HEADERS_TOO_LARGE)
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.header_s, self._refuse, _HEADERS_TOO_SLOW)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"][STATE_KEY] = self
        self._head_received = 0

    def on_headers_complete(self) -> None:
        self._end_head()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.is_lost = True
        self._end_head()
        if self.on_lost is not None:
            self.on_lost()

    @property
    def is_backed_up(self) -> bool:
        """The client reads more slowly than the server writes."""
        return self.flow.write_paused

    async def drained(self) -> None:
        """Wait until the client has read most of what was written, or the connection is lost."""
        await self.flow.drain()

    def resume_reading(self) -> None:
        """Resume reading, which uvicorn may have paused during a long body, so that a disconnect is noticed."""
        self.flow.resume_reading()

    def abort(self) -> None:
        """Close at once, discarding what is not sent."""
        self.transport.abort()

    def _end_head(self) -> None:
        self._head_received = None
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, response: bytes) -> None:
        self._end_head()
        if getattr(self.cycle, "response_complete", True):  # else it would follow half of another answer
            self.transport.write(response)
        self.transport.close()
