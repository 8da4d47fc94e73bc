"""A pipe whose reader does not read, or has ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

__all__ = ["FullPipe", "closed_pipe"]

_SMALLEST_BYTES: Final = 4096


class FullPipe:
    """A named pipe that is full: who writes to it waits, until `close` ends its reader."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self._reader, fcntl.F_SETPIPE_SZ, _SMALLEST_BYTES)
        self._writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        self.fill()

    def fill(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self._writer, b"x")

    def read(self) -> bytes:
        """All that is in the pipe now."""
        return os.read(self._reader, _SMALLEST_BYTES)

    def close(self) -> None:
        os.close(self._reader)


def closed_pipe() -> int:
    """The end for writing of a pipe without a reader."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer
