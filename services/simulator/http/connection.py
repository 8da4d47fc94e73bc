"""The TCP connection under a request: ASGI has no way to break one, nor to notice cheaply that it broke."""

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
"""Where a handler finds its Connection: `scope["state"][STATE_KEY]`."""

_GRACE_S: Final = 0.5
"""How long a request may go on once the server stops."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: closing sends RST."""


class Connection(HttpToolsProtocol):
    """uvicorn's protocol; handlers may wait on it, close it and reset it."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.is_gone = False
        self._waiter: asyncio.Future[None] | None = None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"][STATE_KEY] = self

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.is_gone = True
        self._wake()

    def shutdown(self) -> None:
        super().shutdown()
        if not self.transport.is_closing():
            self.loop.call_later(_GRACE_S, self.transport.abort)

    def listen(self) -> None:
        """Read on after a long body, at whose end uvicorn may have stopped: else a hang-up goes unnoticed."""
        self.flow.resume_reading()

    async def pause(self, seconds: float) -> None:
        """Sleep, but no longer than the client stays."""
        if self.is_gone:
            return
        timer = self.loop.call_later(seconds, self._wake)
        try:
            await self.wait_gone()
        finally:
            timer.cancel()

    async def wait_gone(self) -> None:
        """Until the client leaves, or `pause` has slept enough."""
        if not self.is_gone:
            self._waiter = self.loop.create_future()
            await self._waiter

    def close(self) -> None:
        """Send what was written, then close without finishing the response."""
        self.transport.close()

    def reset(self) -> None:
        """Drop everything and answer with a TCP reset."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
