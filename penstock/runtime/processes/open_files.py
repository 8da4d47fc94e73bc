"""The limit of open files (`ulimit -n`), which bounds the connections of a process too."""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Final

__all__ = ["FEW_OPEN_FILES", "raise_open_files"]

FEW_OPEN_FILES: Final = 256
"""Fewer are too few for work: a service that does nothing has 16 open, nats-server 36 and more."""


def raise_open_files() -> int:
    """Allow as many open files as the system allows this user, and return their number: shells and systemd set a soft
    limit of 1,024, which idle connections alone may reach.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # systems that refuse a limit without bound
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
