"""Spans as lines of JSON in a file, for a machine without a collector; `penstock trace` reads them.

At 64 MiB the file is rotated to `<file>.1`, in place of an earlier one, and a new file is begun: both together have at
most 128 MiB and the last batch of each process.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
from msgspec import Struct

from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.tracing import Attributes
from penstock.runtime.telemetry.recorded_span import RecordedSpan

__all__ = ["FileSpanExporter", "SpanLine", "read_spans", "trace_files"]

_log: Final = rate_limited_logger(__name__)
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
                self._rotate()
        except OSError as error:
            _log.warning("%s has its full size and cannot be rotated: %s; spans are lost", self._path, error)
            return
        try:
            written = os.write(self._file, self._before + lines)
        except OSError as error:  # the process goes on without these spans
            _log.warning("spans cannot be written to %s and are lost: %s", self._path, error.strerror)
            return
        is_whole = written == len(self._before) + len(lines)
        if not is_whole:
            _log.warning("the disk of %s is full; spans are lost", self._path)
        # The rest of a line that was cut off is left out, and the next one begins on a line of its own.
        self._before = b"" if is_whole else b"\n"

    def _rotate(self) -> None:
        """Rename the full file, unless another process has done it, and open the new one. Raises OSError."""
        full = self._file
        try:
            fcntl.flock(full, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another process renames it now: one more batch is written to it
        try:
            file, earlier = trace_files(self._path)
            if _is_at(full, file):
                file.rename(earlier)
            self._file, self._before = _opened(file), b""
        finally:
            fcntl.flock(full, fcntl.LOCK_UN)
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


def trace_files(path: Path) -> tuple[Path, Path]:
    """The file that spans are appended to, and the one that it is rotated to."""
    return path, path.with_name(f"{path.name}.1")


def read_spans(path: Path) -> Iterator[SpanLine]:
    """The spans in the file and in the one before it, without an incomplete last line, and without those that a full
    disk has cut off. Raises OSError where there is no file.
    """
    with ExitStack() as stack:
        for file in _opened_to_read(path, stack):
            yield from _read(file)


def _opened_to_read(path: Path, stack: ExitStack) -> list[BinaryIO]:
    """The older file first. `path` is opened first: after a rotation between the two, both names lead to one file,
    while in the other order the rotated file would be left out. Raises OSError.
    """
    newer, older = trace_files(path)
    files: list[BinaryIO] = []
    with suppress(FileNotFoundError):  # in the middle of a rotation the new file does not exist yet
        files.append(stack.enter_context(newer.open("rb")))
    with suppress(FileNotFoundError):
        files.append(stack.enter_context(older.open("rb")))
    if not files:
        return [stack.enter_context(newer.open("rb"))]
    if len(files) > 1 and os.path.sameopenfile(files[0].fileno(), files[1].fileno()):
        del files[1]
    return files[::-1]


def _read(lines: BinaryIO) -> Iterator[SpanLine]:
    decoder = msgspec.json.Decoder(SpanLine)
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
