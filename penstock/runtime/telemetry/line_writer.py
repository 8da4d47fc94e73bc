"""Lines to a terminal, pipe or file that may be closed, full or not read, without waiting and without an error."""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from io import UnsupportedOperation
from typing import Final, TextIO

__all__ = ["LineWriter"]

_MAX_WAITING_BYTES: Final = 1024 * 1024
"""Lines that wait for their reader beyond this are dropped: 2,000 to 5,000 lines of a service's log."""
_RETRY_MS: Final = 1000
"""Wait for room in a pipe that another process made non-blocking."""
_GATHER_S: Final = 0.02
"""Seconds for which lines are gathered before they are written at once: waking the thread for each line costs more than
the line."""
_AT_ONCE_BYTES: Final = select.PIPE_BUF
"""Bytes of several lines that are written at once: those of other processes do not come between (POSIX, `write`)."""


class LineWriter:
    """Writes lines in order from a daemon thread, which the first line starts; so the caller never waits.

    A line is dropped when it cannot be written (its reader has ended, the disk is full) or when too many already wait
    for a reader that has stopped reading. `on_dropped` is called once for each. Before the next line stands the text
    that `dropped_text` makes of their number.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        dropped_text: Callable[[int], str],
        on_dropped: Callable[[], object] = lambda: None,
        max_waiting_bytes: int = _MAX_WAITING_BYTES,
    ) -> None:
        self._stream = stream
        self._dropped_text = dropped_text
        self._on_dropped = on_dropped
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting: deque[tuple[bytes, int]] = deque()
        """Lines, each with the number of dropped ones that the text before it reports."""
        self._waiting_bytes = 0
        self._unreported = 0
        """Lines that were dropped and that no line in the queue reports."""
        self._inside_line = False
        """Part of a line was written before an error."""
        self._lock = threading.RLock()
        """Reentrant: a finalizer that logs may run inside `write`."""
        self._changed = threading.Condition(self._lock)
        self._flush_asked = threading.Event()
        """`flush` was called: from now on nothing is gathered."""
        self._thread: threading.Thread | None = None

    def write(self, line: str) -> None:
        """Write `line` and a newline soon; return at once."""
        data = self._encoded(line)
        with self._lock:
            if self._waiting and self._waiting_bytes + len(data) > self._max_waiting_bytes:
                self._drop()
                return
            if self._unreported:
                data = self._encoded(self._dropped_text(self._unreported)) + data
            self._waiting.append((data, self._unreported))
            self._waiting_bytes += len(data)
            self._unreported = 0
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="line writer", daemon=True)
                self._thread.start()
            elif len(self._waiting) == 1:
                self._changed.notify_all()

    def flush(self, timeout_s: float) -> None:
        """Wait until every line is written or dropped, at most `timeout_s`."""
        self._flush_asked.set()
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                was_idle = not self._waiting
                self._changed.wait_for(lambda: self._waiting)
            if was_idle:
                self._flush_asked.wait(_GATHER_S)
            with self._changed:
                lines = self._first_lines()
            written = self._written(b"".join(lines))
            with self._changed:
                self._remove(lines, written)
                self._changed.notify_all()

    def _first_lines(self) -> list[bytes]:
        """As many as are written at once. They leave the queue afterwards: `flush` waits for it."""
        lines: list[bytes] = []
        size = 0
        for data, _ in self._waiting:
            size += len(data)
            if lines and size > _AT_ONCE_BYTES:
                break
            lines.append(data)
        return lines

    def _remove(self, lines: list[bytes], written: int) -> None:
        """Of `lines`, `written` bytes were written. The first line that was not is dropped, those after it stay."""
        for data in lines:
            _, reported = self._waiting.popleft()
            self._waiting_bytes -= len(data)
            if written < len(data):
                self._unreported += reported
                self._drop()
                return
            written -= len(data)

    def _drop(self) -> None:
        self._unreported += 1
        self._on_dropped()

    def _encoded(self, line: str) -> bytes:
        return f"{line}\n".encode(self._stream.encoding, "replace")

    def _written(self, data: bytes) -> int:
        """How many bytes were written."""
        try:
            descriptor = self._stream.fileno()
        except UnsupportedOperation:  # a stream in memory
            self._stream.write(data.decode())
            return len(data)
        except ValueError:  # it is closed
            return 0
        cut = b"\n" if self._inside_line else b""
        left = memoryview(cut + data)
        while left:
            try:
                left = left[os.write(descriptor, left) :]
            except BlockingIOError:
                room = select.poll()
                room.register(descriptor, select.POLLOUT)
                room.poll(_RETRY_MS)
            except OSError:
                break
        written = len(data) - len(left)
        if written > -len(cut):
            self._inside_line = written > 0 and not data[:written].endswith(b"\n")
        return max(0, written)
