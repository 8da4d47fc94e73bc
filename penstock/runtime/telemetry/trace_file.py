"""Spans as lines of JSON in a file, for a machine without a collector; `penstock trace` reads them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

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
    attributes: dict[str, str | int | float | bool | list[str]]


class FileSpanExporter(SpanExporter):
    """Appends to one file that all services share; each batch is one write, so that lines are never mixed."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        lines = b"".join(msgspec.json.encode(_line(span)) + b"\n" for span in spans)
        os.write(self._file, lines)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        os.close(self._file)


def _line(span: ReadableSpan) -> SpanLine:
    return SpanLine(
        trace_id=f"{span.context.trace_id:032x}",
        span_id=f"{span.context.span_id:016x}",
        parent_id=f"{span.parent.span_id:016x}" if span.parent is not None else None,
        service=str(span.resource.attributes.get("service.name", "")),
        name=span.name,
        kind=span.kind.name.lower(),
        start_ns=span.start_time or 0,
        end_ns=span.end_time or 0,
        error=not span.status.is_ok,
        attributes=msgspec.convert(
            dict(span.attributes or {}), dict[str, str | int | float | bool | list[str]]
        ),
    )


def read_spans(path: Path) -> Iterator[SpanLine]:
    """The spans in the file, without an incomplete last line."""
    decoder = msgspec.json.Decoder(SpanLine)
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield decoder.decode(line)
