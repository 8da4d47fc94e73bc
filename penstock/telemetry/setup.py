"""The tracer a process should have, from one word of its settings."""

from __future__ import annotations

from pathlib import Path

from penstock.telemetry.tracing import NO_TRACER, Tracer

__all__ = ["make_tracer"]


def make_tracer(traces: str, *, service: str, instance: str, sample_ratio: float = 1.0) -> Tracer:
    """`traces`: `off`, `otlp` (to OTEL_EXPORTER_OTLP_ENDPOINT, over HTTP) or `file:<path>`.

    The SDK is imported only when something is to be recorded.
    """
    if traces == "off":
        return NO_TRACER
    from penstock.telemetry.opentelemetry import OtelTracer  # noqa: PLC0415 - only when tracing is on

    if traces.startswith("file:"):
        from penstock.telemetry.trace_file import FileSpanExporter  # noqa: PLC0415

        return OtelTracer(
            FileSpanExporter(Path(traces.removeprefix("file:"))),
            service=service,
            instance=instance,
            sample_ratio=sample_ratio,
        )
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    return OtelTracer(OTLPSpanExporter(), service=service, instance=instance, sample_ratio=sample_ratio)
