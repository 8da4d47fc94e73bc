"""A port for a service that must come back under the same address after a restart."""

from __future__ import annotations

import socket

__all__ = ["free_port"]


def free_port() -> int:
    """A loopback TCP port that is free now. Who binds it soon gets it, though nothing reserves it.

    Prefer port 0 and the ready line where the address may change over restarts.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
