"""The tracer that the settings of a process select."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from penstock.bus.tracing import NO_TRACER, Tracer
from penstock.runtime.config.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["make_tracer"]


def make_tracer(settings: Settings, *, service: str, instance: str) -> Tracer:
    """No tracing, OTLP over HTTP (to OTEL_EXPORTER_OTLP_ENDPOINT) or a file, as the settings say.

    The SDK is imported only when spans are recorded.
    """
    if settings.traces == "off":
        return NO_TRACER
    from penstock.runtime.telemetry.opentelemetry import OtelTracer  # noqa: PLC0415 - only when tracing is on

    return OtelTracer(
        _exporter(settings), service=service, instance=instance, sample_ratio=settings.trace_sample_ratio
    )


def _exporter(settings: Settings) -> SpanExporter:
    if settings.trace_file is not None:
        from penstock.runtime.telemetry.trace_file import FileSpanExporter  # noqa: PLC0415 - as above

        return FileSpanExporter(Path(settings.trace_file))
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    return OTLPSpanExporter()
