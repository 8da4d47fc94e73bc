"""uvicorn on a socket that is bound before the model is loaded, so that a taken port is reported at once."""

from __future__ import annotations

import json
import signal
import socket
import sys
from typing import Final

import uvicorn
from starlette.types import ASGIApp

__all__ = ["listen", "run"]

_KEEP_ALIVE_S: Final = 300
"""Idle time before a connection is closed: longer than in clients, which must close first."""
_BACKLOG: Final = 256


class _AnnouncingServer(uvicorn.Server):
    """Prints one line on stdout once it accepts connections."""

    url = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        line = {"event": "ready", "service": "encoder", "url": self.url, "http": self.url}
        sys.stdout.write(json.dumps(line, separators=(",", ":")) + "\n")
        sys.stdout.flush()


def run(app: ASGIApp, listener: socket.socket, drain_s: float) -> None:
    """Serve until SIGTERM or SIGINT; then accept nothing more, finish the requests in progress, and return."""
    server = _AnnouncingServer(
        uvicorn.Config(
            app,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="on",
            access_log=False,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(drain_s)),
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
    try:
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener
