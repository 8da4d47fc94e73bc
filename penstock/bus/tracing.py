"""Spans over NATS headers. Disabled tracing imports no SDK and creates no objects."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal, Protocol

__all__ = [
    "NO_SPAN",
    "NO_TRACER",
    "Attribute",
    "Attributes",
    "Kind",
    "NoTracer",
    "PassingSpan",
    "Span",
    "Tracer",
    "is_traceparent",
]

Kind = Literal["client", "server", "producer", "consumer", "internal"]
Attribute = str | int | float | bool | list[str]
Attributes = dict[str, Attribute]

is_traceparent: Final[Callable[[str], object]] = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
).fullmatch
"""True for a valid W3C trace context parent, as `if` understands it: a process asks up to five times for a request."""


class Span(Protocol):
    """One span; the code that started it ends it exactly once."""

    @property
    def traceparent(self) -> str | None:
        """The W3C `traceparent` header for the next hop."""
        ...

    def set(self, key: str, value: Attribute) -> None: ...

    def set_all(self, attributes: Attributes) -> None: ...

    def end(self, *, error: str | None = None) -> None:
        """End the span. `error` is a low-cardinality error type; None means success."""
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
        """Start a span, to which `attributes` then belong. `parent` is a `traceparent`; `start_ns` is in Unix
        nanoseconds, None for now.
        """
        ...

    def close(self) -> None:
        """Send the buffered spans."""
        ...


class PassingSpan:
    """Records nothing and passes a received trace on."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str | None) -> None:
        self.traceparent = traceparent

    def set(self, key: str, value: Attribute) -> None:
        """Ignored."""

    def set_all(self, attributes: Attributes) -> None:
        """Ignored."""

    def end(self, *, error: str | None = None) -> None:
        """Ignored."""


NO_SPAN: Final = PassingSpan(None)


class NoTracer:
    """The tracer of disabled tracing."""

    def start(
        self,
        name: str,  # noqa: ARG002 - the signature is Tracer's
        kind: Kind,  # noqa: ARG002
        *,
        parent: str | None = None,
        attributes: Attributes | None = None,  # noqa: ARG002
        start_ns: int | None = None,  # noqa: ARG002
    ) -> Span:
        return NO_SPAN if parent is None or not is_traceparent(parent) else PassingSpan(parent)

    def close(self) -> None:
        """No spans are buffered."""


NO_TRACER: Final = NoTracer()
