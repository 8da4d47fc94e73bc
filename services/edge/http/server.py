"""uvicorn on the public address, beside the shell's own server in the same loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from penstock.bus.log_limits import rate_limited_logger
from penstock.runtime.serving.server import Server
from services.edge.http.connection import Connection
from services.edge.http.listener import BACKLOG

__all__ = ["PublicServer"]

_KEEP_ALIVE_S: Final = 75
"""Idle time before a connection is closed; longer than the 60 s of usual load balancers, which must close first."""
_INTERRUPTED_S: Final = 2.0
"""For the responses that are interrupted to be sent."""


class PublicServer:
    """Serves until `stop`."""

    def __init__(self, app: ASGIApp, listener: socket.socket, connection: type[Connection]) -> None:
        self._listener = listener
        self._server = _Server(
            uvicorn.Config(
                app,
                http=connection,
                ws="none",
                lifespan="off",
                loop="none",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=True,
                backlog=BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_S,
            )
        )
        self._serving: asyncio.Task[None] | None = None
        rate_limited_logger("uvicorn.error")  # it warns of each request that is not HTTP

    def is_serving(self) -> bool:
        return self._serving is not None and not self._serving.done()

    async def start(self) -> None:
        self._serving = asyncio.create_task(
            self._server.serve(sockets=[self._listener]), name="public server"
        )
        started = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait({self._serving, started}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self._serving.done():
            self._serving.result()

    async def stop(self, drain_s: float, interrupt: Callable[[], None]) -> None:
        """Accept no more connections, wait for the responses in progress, then interrupt those that remain."""
        if self._serving is None:
            return
        self._server.stop()
        _, running = await asyncio.wait({self._serving}, timeout=drain_s)
        if running:
            interrupt()
            await asyncio.wait({self._serving}, timeout=_INTERRUPTED_S)
        if not self._serving.done():
            self._server.force_exit = True
            await self._serving


class _Server(Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()
