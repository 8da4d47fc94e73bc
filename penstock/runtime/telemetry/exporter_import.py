"""The import of OpenTelemetry's exporter without protobuf.

The exporter imports an encoder of spans, which loads protobuf: 3 MB in each process. `otlp` encodes spans itself.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any, Final

__all__ = ["import_exporter"]

_ENCODER: Final = "opentelemetry.exporter.otlp.proto.common.trace_encoder"
_EXPORTER: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


def import_exporter() -> Any:
    """The class `OTLPSpanExporter`, which imports its encoder when it encodes spans of OpenTelemetry's SDK."""
    if _EXPORTER not in sys.modules and _ENCODER not in sys.modules:
        encoder = ModuleType(_ENCODER)
        encoder.__dict__["encode_spans"] = _encode_spans
        sys.modules[_ENCODER] = encoder
        try:
            importlib.import_module(_EXPORTER)
        finally:
            del sys.modules[_ENCODER]
    return importlib.import_module(_EXPORTER).OTLPSpanExporter


def _encode_spans(spans: object) -> object:
    return importlib.import_module(_ENCODER).encode_spans(spans)
