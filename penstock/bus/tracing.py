"""Spans over NATS headers. Tracing that is off imports no SDK and makes no objects."""

from __future__ import annotations

import re
from typing import Final, Literal, Protocol

__all__ = ["NO_SPAN", "NO_TRACER", "Attributes", "Kind", "NoTracer", "Span", "Tracer", "is_traceparent"]

Kind = Literal["client", "server", "producer", "consumer", "internal"]
Attribute = str | int | float | bool | list[str]
Attributes = dict[str, Attribute]

_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def is_traceparent(text: str) -> bool:
    """Whether `text` is a valid W3C trace context parent."""
    return _TRACEPARENT.fullmatch(text) is not None


class Span(Protocol):
    """One span, ended exactly once by whoever started it."""

    @property
    def traceparent(self) -> str | None:
        """What the next hop needs to know, as a W3C `traceparent` header."""
        ...

    def set(self, key: str, value: Attribute) -> None: ...

    def end(self, *, error: str | None = None) -> None:
        """`error`: a low-cardinality error type; None means all went well."""
        ...


class Tracer(Protocol):
    """Starts spans."""

    def start(
        self,
        name: str,
        kind: Kind,
        *,
        parent: str | None = None,
        attributes: Attributes | None = None,
        start_ns: int | None = None,
    ) -> Span:
        """`parent` is a `traceparent`; `start_ns` Unix nanoseconds, now if None."""
        ...

    def close(self) -> None:
        """Send what is still held."""
        ...


class _PassingSpan:
    """Nothing is recorded; a trace that others began passes through."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str | None) -> None:
        self.traceparent = traceparent

    def set(self, key: str, value: Attribute) -> None:
        """Nothing to set."""

    def end(self, *, error: str | None = None) -> None:
        """Nothing to end."""


NO_SPAN: Final = _PassingSpan(None)


class NoTracer:
    """Tracing is off."""

    def start(
        self,
        name: str,  # noqa: ARG002 - the signature is Tracer's
        kind: Kind,  # noqa: ARG002
        *,
        parent: str | None = None,
        attributes: Attributes | None = None,  # noqa: ARG002
        start_ns: int | None = None,  # noqa: ARG002
    ) -> Span:
        return NO_SPAN if parent is None or not is_traceparent(parent) else _PassingSpan(parent)

    def close(self) -> None:
        """Nothing is held."""


NO_TRACER: Final = NoTracer()
