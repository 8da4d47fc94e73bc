"""The recording tracer: OpenTelemetry's SDK, exporting over OTLP or into a file."""

from __future__ import annotations

from typing import Final, get_args

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from penstock.bus.trace_names import ERROR_TYPE
from penstock.bus.tracing import Attribute, Attributes, Kind, Span, is_traceparent

__all__ = ["EXPORT_INTERVAL_S", "OtelTracer"]

_KINDS: Final[dict[Kind, SpanKind]] = {kind: SpanKind[kind.upper()] for kind in get_args(Kind)}
_QUEUE_SPANS: Final = 4_096
_BATCH_SPANS: Final = 256
EXPORT_INTERVAL_S: Final = 0.25
"""Seconds between two exports of the spans that have ended."""


class _OtelSpan:
    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str | None:
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def set(self, key: str, value: Attribute) -> None:
        self._span.set_attribute(key, value)

    def end(self, *, error: str | None = None) -> None:
        if error is not None:
            self._span.set_attribute(ERROR_TYPE, error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class OtelTracer:
    """Records the spans of one service, batched and exported in the background."""

    def __init__(
        self, exporter: SpanExporter, *, service: str, instance: str, sample_ratio: float = 1.0
    ) -> None:
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
            resource=Resource.create({"service.name": service, "service.instance.id": instance}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                max_queue_size=_QUEUE_SPANS,
                max_export_batch_size=_BATCH_SPANS,
                schedule_delay_millis=round(EXPORT_INTERVAL_S * 1000),
            )
        )
        self._tracer = self._provider.get_tracer("penstock")

    def start(
        self,
        name: str,
        kind: Kind,
        *,
        parent: str | None = None,
        attributes: Attributes | None = None,
        start_ns: int | None = None,
    ) -> Span:
        span = self._tracer.start_span(
            name,
            context=_context(parent),
            kind=_KINDS[kind],
            attributes=attributes,
            start_time=start_ns,
        )
        return _OtelSpan(span)

    def close(self) -> None:
        self._provider.shutdown()


def _context(parent: str | None) -> Context:
    """The remote parent in a `traceparent`; an invalid one starts a new trace.

    It is parsed here because the SDK's propagator, with a carrier and a regular expression, costs ten times as much.
    """
    if parent is None or not is_traceparent(parent):
        return Context()
    context = SpanContext(
        trace_id=int(parent[3:35], 16),
        span_id=int(parent[36:52], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(parent[53:55], 16)),
    )
    return trace.set_span_in_context(NonRecordingSpan(context), Context())
