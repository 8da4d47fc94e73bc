"""A span as a plain struct."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct

from penstock.bus.trace_names import ERROR_TYPE
from penstock.bus.tracing import Attribute, Attributes, Kind

__all__ = ["RecordedSpan"]


class RecordedSpan(Struct, gc=False):
    """A span of `SpanRecorder`. Ids are lower-case hexadecimal digits, times Unix nanoseconds."""

    traceparent: str
    """That of its children."""
    parent_id: str | None
    name: str
    kind: Kind
    start_ns: int
    attributes: Attributes
    ended: Callable[[RecordedSpan], None]
    """Called when the span has ended."""
    end_ns: int = 0
    """0: it has not ended."""
    error: bool = False

    @property
    def trace_id(self) -> str:
        return self.traceparent[3:35]

    @property
    def span_id(self) -> str:
        return self.traceparent[36:52]

    def set(self, key: str, value: Attribute) -> None:
        self.attributes[key] = value

    def set_all(self, attributes: Attributes) -> None:
        self.attributes.update(attributes)

    def end(self, *, error: str | None = None) -> None:
        if error is not None:
            self.error = True
            self.attributes[ERROR_TYPE] = error
        self.end_ns = time.time_ns()
        self.ended(self)
