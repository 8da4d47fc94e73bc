"""uvicorn on a socket that the process binds itself, for providers on this machine: the encoder and the simulator.

So a taken port is reported before anything slow begins, and the port that is chosen for port 0 can be printed.
"""

from __future__ import annotations

import argparse
import signal
import socket
import sys
from typing import Final

import uvicorn

from penstock.runtime.config.settings import HIGHEST_PORT
from penstock.runtime.processes.ready_line import print_ready_line
from penstock.runtime.processes.stop_signals import stop_signal_numbers
from penstock.runtime.serving.listening import bound_socket, url_of

__all__ = ["KEEP_ALIVE_S", "listen", "port_argument", "serve"]

KEEP_ALIVE_S: Final = 300
"""Idle time before a connection is closed: longer than in clients, which must close first."""


class _AnnouncingServer(uvicorn.Server):
    """Prints one line on stdout once it accepts connections."""

    def __init__(self, config: uvicorn.Config, ready: dict[str, str]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print_ready_line(self._ready)


def port_argument(text: str) -> int:
    """The value of `--port`. Raises argparse.ArgumentTypeError."""
    if not text.isdecimal() or len(text) > 5 or int(text) > HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: use a number from 0 to {HIGHEST_PORT}")
    return int(text)


def listen(service: str, host: str, port: int) -> socket.socket | None:
    """A bound socket; None, and a line on stderr, where the address cannot be bound."""
    try:
        return bound_socket(host, port)
    except OSError as error:
        sys.stderr.write(f"the {service} cannot listen on {host}, port {port}: {error.strerror}\n")
        return None


def serve(config: uvicorn.Config, listener: socket.socket, service: str, *, is_monitored: bool) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP; then accept nothing more, finish the requests in progress, and return.

    `is_monitored`: it has metrics, whose address is `http` in the printed line.
    """
    url = url_of(listener)
    server = _AnnouncingServer(
        config, {"service": service, "url": url, **({"http": url} if is_monitored else {})}
    )
    # uvicorn raises the signal again once it has stopped; without this handler that would kill the process.
    for number in stop_signal_numbers():
        signal.signal(number, server.handle_exit)
    server.run(sockets=[listener])
