"""uvicorn on the public address, beside the shell's own server in the same loop."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from penstock.bus.log_limits import rate_limited_logger
from services.edge.http.connection import Connection

__all__ = ["PublicServer", "address_of", "bind", "raise_open_files"]

_KEEP_ALIVE_S: Final = 75
"""Idle time before a connection is closed; longer than the 60 s of usual load balancers, which must close first."""
_BACKLOG: Final = 2048
_KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
"""Connections inherit these: a client whose machine is gone is noticed within a minute also while nothing is sent."""
_INTERRUPTED_S: Final = 2.0
"""For the responses that are interrupted to be sent."""


def raise_open_files() -> None:
    """Allow as many open files, and thus connections, as the system allows this user: shells and systemd set a soft
    limit of 1,024, which idle connections alone may reach, and every further one is reset.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # systems that refuse a limit without bound
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def bind(host: str, port: int, fallback_port: int | None = None) -> socket.socket:
    """A listening socket; on the fallback port if there is one and the other is taken. Raises OSError.

    It listens at once, since two sockets may be bound to one port as long as neither listens.
    """
    try:
        return _bind(host, port)
    except OSError:
        if fallback_port is None:
            raise
        return _bind(host, fallback_port)


def _bind(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for level, option, value in _KEEPALIVE:
            bound.setsockopt(level, option, value)
        bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


def address_of(listener: socket.socket) -> str:
    """The base address, as a client on this machine writes it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"http://{host}:{port}"


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
                backlog=_BACKLOG,
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
        self._server.should_exit = True
        _, running = await asyncio.wait({self._serving}, timeout=drain_s)
        if running:
            interrupt()
            await asyncio.wait({self._serving}, timeout=_INTERRUPTED_S)
        if not self._serving.done():
            self._server.force_exit = True
            await self._serving


class _Server(uvicorn.Server):
    """uvicorn without its signal handling, which is the shell's."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
