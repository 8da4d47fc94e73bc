"""Free TCP ports on the loopback interface."""

from __future__ import annotations

import socket
import sys
import weakref
from typing import Final

from penstock.runtime.serving.listening import bound_socket

__all__ = ["PortAllocator", "port_is_free"]

_KEPT: Final = sys.platform == "linux"
"""Elsewhere a server cannot listen on a port to which another socket is bound."""


class PortAllocator:
    """Gives out free ports, each once: a service that is restarted keeps its address.

    On Linux a socket that does not listen stays bound to each port while the allocator exists: the system then gives
    the port to no other program that asks for any, the service with the port can listen on it, and until it does,
    connections are refused. Elsewhere a port is free when it is given out.

    Prefer port 0 and the ready line where the address may change over restarts.
    """

    def __init__(self) -> None:
        self._given: set[int] = set()
        """Where ports are not kept: the system may give one out again."""
        self._bound: list[socket.socket] = []
        weakref.finalize(self, _close, self._bound)

    def take(self) -> int:
        while True:
            bound = bound_socket("127.0.0.1", 0)
            port: int = bound.getsockname()[1]
            if _KEPT:
                self._bound.append(bound)
            else:
                bound.close()
            if port not in self._given:
                self._given.add(port)
                return port


def _close(bound: list[socket.socket]) -> None:
    for each in bound:
        each.close()


def port_is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as nats-server does
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
