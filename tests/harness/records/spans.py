"""A tracer that keeps the spans of one process."""

from __future__ import annotations

from msgspec import Struct, field

from penstock.bus.tracing import Attribute, Attributes, Kind

__all__ = ["RecordedSpan", "RecordingTracer"]


class RecordedSpan(Struct):
    name: str
    parent: str | None
    traceparent: str | None = None
    attributes: dict[str, Attribute] = field(default_factory=dict)
    error: str | None = None
    ended: bool = False

    def set(self, key: str, value: Attribute) -> None:
        self.attributes[key] = value

    def set_all(self, attributes: Attributes) -> None:
        self.attributes.update(attributes)

    def end(self, *, error: str | None = None) -> None:
        self.error, self.ended = error, True


class RecordingTracer:
    def __init__(self) -> None:
        self.spans: list[RecordedSpan] = []

    def start(
        self,
        name: str,
        kind: Kind,  # noqa: ARG002 - the signature is Tracer's
        *,
        parent: str | None = None,
        attributes: Attributes | None = None,
        start_ns: int | None = None,  # noqa: ARG002
    ) -> RecordedSpan:
        self.spans.append(RecordedSpan(name, parent, attributes=dict(attributes or {})))
        return self.spans[-1]

    def close(self) -> None:
        """Nothing is buffered."""
