"""One owner per directory: two nats-servers on one JetStream store would ruin it unnoticed."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from penstock.cli.errors import LaunchError

__all__ = ["DirectoryLock"]


class DirectoryLock:
    """An advisory lock (flock) on `<directory>/lock`.

    The descriptor is handed to the server process as well, so the directory stays locked for as long as
    either lives: a server that outlived its launcher still holds it.
    """

    def __init__(self, directory: Path, owner: str = "another nats-server") -> None:
        """`owner` is what the error calls whoever holds it."""
        self._directory = directory
        self._owner = owner
        self._descriptor: int | None = None

    def take(self) -> int:
        """The locked descriptor, for `pass_fds`. LaunchError when someone else holds the lock."""
        if self._descriptor is None:
            self._directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise LaunchError(
                    f"{self._directory} is in use by {self._owner}: stop it, or name another directory"
                ) from None
            self._descriptor = descriptor
        return self._descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
