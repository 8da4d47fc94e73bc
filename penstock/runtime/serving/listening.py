"""Addresses to listen on, of IP version 4 and 6, and as clients write them."""

from __future__ import annotations

import socket

__all__ = ["bound_socket", "url_of"]


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that is bound and does not listen yet; port 0: any free one. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def url_of(bound: socket.socket) -> str:
    """The base address, as a client on this machine writes it."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if bound.family == socket.AF_INET6 else f"http://{host}:{port}"
