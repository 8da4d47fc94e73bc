"""The socket of the public address. It needs no slow import, so that a taken port is reported at once."""

from __future__ import annotations

import resource
import socket
from contextlib import suppress
from typing import Final

__all__ = ["BACKLOG", "address_of", "bind", "raise_open_files"]

BACKLOG: Final = 2048
_KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
"""Connections inherit these: a client whose machine is gone is noticed within a minute also while nothing is sent."""


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
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


def address_of(listener: socket.socket) -> str:
    """The base address, as a client on this machine writes it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"http://{host}:{port}"
