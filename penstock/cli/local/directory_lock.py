"""One owner per directory: two nats-servers on one JetStream store would corrupt it."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from penstock.cli.errors import LaunchError

__all__ = ["DirectoryLock", "is_locked"]

_LOOKED_AT_S: Final = 0.05
"""Longer than `is_locked` holds the lock itself."""


def is_locked(directory: Path) -> bool:
    """Whether another process holds the lock of the directory now."""
    try:
        descriptor = os.open(directory / "lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class DirectoryLock:
    """An advisory lock (flock) on `<directory>/lock`.

    The server process inherits the descriptor, so the directory stays locked while either process lives, also after
    the supervisor was killed.
    """

    def __init__(self, directory: Path, owner: str = "another nats-server") -> None:
        """`owner` names the current holder in the error."""
        self._directory = directory
        self._owner = owner
        self._descriptor: int | None = None

    def acquire(self) -> int:
        """The locked descriptor, for `pass_fds`. Raises LaunchError when another process holds the lock."""
        if self._descriptor is None:
            self._directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                _lock(descriptor)
            except BlockingIOError:
                os.close(descriptor)
                raise LaunchError(
                    f"{self._directory} is in use by {self._owner}: stop it, or name another directory with "
                    "--data DIR"
                ) from None
            self._descriptor = descriptor
        return self._descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(_LOOKED_AT_S)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
