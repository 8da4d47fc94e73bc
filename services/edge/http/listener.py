"""The socket of the public address. It needs no slow import, so that a taken port is reported at once."""

from __future__ import annotations

import socket
from typing import Final

from penstock.runtime.serving.listening import bound_socket

__all__ = ["BACKLOG", "bind"]

BACKLOG: Final = 2048
_KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
"""Connections inherit these: a client whose machine is gone is noticed within a minute also while nothing is sent."""


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
    bound = bound_socket(host, port)
    try:
        for level, option, value in _KEEPALIVE:
            bound.setsockopt(level, option, value)
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound
