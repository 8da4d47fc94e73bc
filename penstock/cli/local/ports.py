"""Free TCP ports on the loopback interface."""

from __future__ import annotations

import socket

__all__ = ["PortAllocator", "free_port", "port_is_free"]


class PortAllocator:
    """Gives out free ports, each once: a service that is restarted keeps its address."""

    def __init__(self) -> None:
        self._given: set[int] = set()

    def take(self) -> int:
        while (port := free_port()) in self._given:
            pass
        self._given.add(port)
        return port


def free_port() -> int:
    """A port that is free now and not reserved.

    Prefer port 0 and the ready line where the address may change over restarts.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def port_is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as nats-server does
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
