"""uvicorn on a socket that the simulator binds itself, so that the port chosen for port 0 can be printed."""

from __future__ import annotations

import json
import signal
import socket
import sys

import uvicorn
from starlette.types import ASGIApp

from services.simulator.http.connection import Connection

__all__ = ["listen", "run"]

_KEEP_ALIVE_S = 300
"""Idle time in seconds before a connection is closed: longer than in clients, which must close first."""
_SHUTDOWN_S = 3


class _AnnouncingServer(uvicorn.Server):
    """Prints one line on stdout once it accepts connections."""

    url = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        line = {"event": "ready", "service": "simulator", "url": self.url}
        sys.stdout.write(json.dumps(line, separators=(",", ":")) + "\n")
        sys.stdout.flush()


def run(app: ASGIApp, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, then return."""
    server = _AnnouncingServer(
        uvicorn.Config(
            app,
            loop="uvloop",
            http=Connection,
            ws="none",
            lifespan="off",
            access_log=False,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_SHUTDOWN_S,
        )
    )
    bound_host, bound_port = listener.getsockname()[:2]
    address = f"[{bound_host}]" if listener.family == socket.AF_INET6 else bound_host
    server.url = f"http://{address}:{bound_port}"
    # uvicorn raises the signal again once it has stopped; without this handler that would kill the process.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    server.run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    return listener
