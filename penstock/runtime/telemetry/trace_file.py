"""Spans as lines of JSON in a file, for a machine without a collector; `penstock trace` reads them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from penstock.bus.tracing import Attributes
from penstock.runtime.telemetry.recorded_span import RecordedSpan

__all__ = ["FileSpanExporter", "SpanLine", "read_spans"]


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

    def __init__(self, path: Path, *, service: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._service = service
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._before = b""

    def export(self, spans: Sequence[RecordedSpan]) -> None:
        lines = b"".join(msgspec.json.encode(self._line(span)) + b"\n" for span in spans)
        try:
            written = os.write(self._file, self._before + lines)
        except OSError:  # the disk is full: the process goes on without these spans
            return
        # The rest of a line that was cut off is left out, and the next one begins on a line of its own.
        self._before = b"" if written == len(self._before) + len(lines) else b"\n"

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
    """The spans in the file, without an incomplete last line, and without those that a full disk has cut off."""
    decoder = msgspec.json.Decoder(SpanLine)
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                with suppress(msgspec.DecodeError):
                    yield decoder.decode(line)
