"""The tracer that the settings of a process select."""

from __future__ import annotations

from pathlib import Path

from penstock.bus.tracing import NO_TRACER, Tracer
from penstock.runtime.config.settings import Settings
from penstock.runtime.telemetry.spans import SpanExporter, SpanRecorder
from penstock.runtime.telemetry.tail_buffer import TailBuffer
from penstock.runtime.telemetry.trace_file import FileSpanExporter

__all__ = ["make_tracer"]


def make_tracer(settings: Settings, *, service: str, instance: str) -> Tracer:
    """No tracing, OTLP over HTTP (to OTEL_EXPORTER_OTLP_ENDPOINT) or a file, as the settings say."""
    if settings.traces == "off":
        return NO_TRACER
    exporter = _exporter(settings, service, instance)
    tail = TailBuffer(settings.trace_slow_s) if settings.trace_tail_sampling == "on" else None
    return SpanRecorder(exporter, sample_ratio=settings.trace_sample_ratio, tail=tail)


def _exporter(settings: Settings, service: str, instance: str) -> SpanExporter:
    if settings.trace_file is not None:
        return FileSpanExporter(Path(settings.trace_file), service=service)
    from penstock.runtime.telemetry.otlp import OtlpExporter  # noqa: PLC0415 - it loads OpenTelemetry's exporter

    return OtlpExporter(service=service, instance=instance)
