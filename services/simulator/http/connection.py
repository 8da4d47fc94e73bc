"""The TCP connection under a request; ASGI can neither break it nor detect cheaply that it is lost."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

__all__ = ["STATE_KEY", "Connection"]

STATE_KEY: Final = "connection"
"""Key of a request's Connection in the ASGI scope: `scope["state"][STATE_KEY]`."""

_GRACE_S: Final = 0.5
"""Time in seconds that a request in flight gets once the server stops."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER value with a timeout of 0: closing the socket sends RST."""


class Connection(HttpToolsProtocol):
    """uvicorn's protocol, extended so that handlers can wait on the connection, close it and reset it."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.is_lost = False
        self._waiter: asyncio.Future[None] | None = None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"][STATE_KEY] = self

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.is_lost = True
        self._wake()

    def shutdown(self) -> None:
        super().shutdown()
        if not self.transport.is_closing():
            self.loop.call_later(_GRACE_S, self.transport.abort)

    def resume_reading(self) -> None:
        """Resume reading, which uvicorn may have paused during a long body, so that a disconnect is detected."""
        self.flow.resume_reading()

    async def pause(self, seconds: float) -> None:
        """Sleep until the time is over or the client disconnects."""
        if self.is_lost:
            return
        timer = self.loop.call_later(seconds, self._wake)
        try:
            await self.wait_lost()
        finally:
            timer.cancel()

    async def wait_lost(self) -> None:
        """Wait until the client disconnects, or the timer of `pause` fires."""
        if not self.is_lost:
            self._waiter = self.loop.create_future()
            await self._waiter

    def close(self) -> None:
        """Flush the written bytes, then close without finishing the response."""
        self.transport.close()

    def reset(self) -> None:
        """Discard unsent bytes and send a TCP reset."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
