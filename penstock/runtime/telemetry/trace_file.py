"""Spans as lines of JSON in a file, for a machine without a collector; `penstock trace` reads them.

At 64 MiB the file gets the name `<file>.1`, in place of an earlier one, and a new file is begun: both together have at
most 128 MiB and the last batch of each process.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from penstock.bus.tracing import Attributes
from penstock.runtime.telemetry.recorded_span import RecordedSpan

__all__ = ["FileSpanExporter", "SpanLine", "read_spans"]

_MAX_BYTES: Final = 64 * 1024 * 1024
"""About 150,000 spans."""


class SpanLine(Struct, frozen=True, kw_only=True):
    """One span. Times are Unix nanoseconds."""

    trace_id: str
    span_id: str
    parent_id: str | None
    service: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    error: bool
    attributes: Attributes


class FileSpanExporter:
    """Appends to one file that all services share; each batch is one write, so that lines are never mixed."""

    def __init__(self, path: Path, *, service: str, max_bytes: int = _MAX_BYTES) -> None:
        """`max_bytes`: the same in all processes that share the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._service = service
        self._max_bytes = max_bytes
        self._file = _opened(path)
        self._before = b""

    def export(self, spans: Sequence[RecordedSpan]) -> None:
        lines = b"".join(msgspec.json.encode(self._line(span)) + b"\n" for span in spans)
        try:
            if os.fstat(self._file).st_size >= self._max_bytes:
                self._begin_anew()
            written = os.write(self._file, self._before + lines)
        except OSError:  # the disk is full: the process goes on without these spans
            return
        # The rest of a line that was cut off is left out, and the next one begins on a line of its own.
        self._before = b"" if written == len(self._before) + len(lines) else b"\n"

    def _begin_anew(self) -> None:
        """Rename the full file, unless another process has done it, and open the new one."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until it is closed
        except BlockingIOError:
            return  # another process renames it now: one more batch is written to it
        if _is_at(self._file, self._path):
            self._path.rename(_earlier(self._path))
        full, self._file, self._before = self._file, _opened(self._path), b""
        os.close(full)

    def close(self) -> None:
        os.close(self._file)

    def _line(self, span: RecordedSpan) -> SpanLine:
        return SpanLine(
            trace_id=span.trace_id,
            span_id=span.span_id,
            parent_id=span.parent_id,
            service=self._service,
            name=span.name,
            kind=span.kind,
            start_ns=span.start_ns,
            end_ns=span.end_ns,
            error=span.error,
            attributes=span.attributes,
        )


def read_spans(path: Path) -> Iterator[SpanLine]:
    """The spans in the file and in the one before it, without an incomplete last line, and without those that a full
    disk has cut off. Raises OSError where there is no file.
    """
    earlier = _earlier(path)
    if earlier.exists():
        yield from _read(earlier)
    yield from _read(path)


def _read(path: Path) -> Iterator[SpanLine]:
    decoder = msgspec.json.Decoder(SpanLine)
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                with suppress(msgspec.DecodeError):
                    yield decoder.decode(line)


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _earlier(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")
