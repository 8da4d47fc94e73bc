"""Spans over OTLP, by OpenTelemetry's exporter; encoded here, because its encoder takes the spans of its SDK only.

Field numbers and types are those of opentelemetry-proto 1, `trace/v1/trace.proto` and `common/v1/common.proto`. Written
as bytes, a span takes a fifth of the time that the generated classes take.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from opentelemetry.sdk.resources import Resource

from penstock.bus import trace_names as names
from penstock.bus.tracing import Kind
from penstock.runtime.telemetry.exporter_import import import_exporter
from penstock.runtime.telemetry.recorded_span import RecordedSpan

__all__ = ["OtlpExporter"]

_KINDS: Final[dict[Kind, int]] = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
"""`Span.SpanKind`."""
_LENGTH_DELIMITED: Final = 2
_START_AND_END: Final = struct.Struct("<BQBQ")
_START: Final = 7 << 3 | 1
_END: Final = 8 << 3 | 1
_FLAGS: Final = b"\x85\x01"
"""The tag of field 16, a number of 32 bits."""
_HAS_IS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200
"""`SpanFlags`."""
_ROOT: Final = _FLAGS + _HAS_IS_REMOTE.to_bytes(4, "little")
_REMOTE_PARENT: Final = _FLAGS + (_HAS_IS_REMOTE | _IS_REMOTE).to_bytes(4, "little")
_TRACE_ID: Final = b"\x0a\x10"
"""Field 1, 16 bytes."""
_SPAN_ID: Final = b"\x12\x08"
_PARENT_ID: Final = b"\x22\x08"
_NO_STATUS: Final = b"\x7a\x00"
_FAILED: Final = b"\x7a\x02\x18\x02"
"""Field 15 with its field 3: STATUS_CODE_ERROR."""
_DISTINCT: Final = frozenset({names.REQUEST_ID, names.RESPONSE_ID, names.TIME_TO_FIRST_CHUNK})
"""Attributes with another value in each request."""
_HASHABLE: Final = frozenset({str, int, bool})
_INT_64: Final = (1 << 64) - 1
_DOUBLE: Final = struct.Struct("<d")


class OtlpExporter:
    """Sends the spans of one service as the `OTEL_EXPORTER_OTLP_` variables say."""

    def __init__(self, *, service: str, instance: str) -> None:
        resource = Resource.create({"service.name": service, "service.instance.id": instance})
        self._resource = _field(
            1, b"".join(_key_value(1, key, value) for key, value in resource.attributes.items())
        )
        self._exporter = import_exporter()()

    def export(self, spans: Sequence[RecordedSpan]) -> None:
        """Errors are logged by OpenTelemetry's exporter, after repetitions."""
        # The package is pinned to its minor version, because only this private part takes encoded spans.
        self._exporter._client.export(self.encoded(spans))  # noqa: SLF001

    def close(self) -> None:
        self._exporter.shutdown()

    def encoded(self, spans: Sequence[RecordedSpan]) -> bytes:
        """An `ExportTraceServiceRequest` of OTLP."""
        of_scope = _field(1, _field(1, b"penstock")) + b"".join(map(_encoded, spans))
        return _field(1, self._resource + _field(2, of_scope))


def _encoded(span: RecordedSpan) -> bytes:
    """A span in its `ScopeSpans`."""
    parent_id = span.parent_id
    parts = [
        _TRACE_ID,
        bytes.fromhex(span.trace_id),
        _SPAN_ID,
        bytes.fromhex(span.span_id),
        b"" if parent_id is None else _PARENT_ID + bytes.fromhex(parent_id),
        _name_and_kind(span.name, span.kind),
        _START_AND_END.pack(_START, span.start_ns, _END, span.end_ns),
        *[
            (_attribute if key in _DISTINCT or value.__class__ not in _HASHABLE else _repeated)(key, value)
            for key, value in span.attributes.items()
        ],
        _FAILED if span.error else _NO_STATUS,
        _ROOT if parent_id is None else _REMOTE_PARENT,
    ]
    return _field(2, b"".join(parts))


@lru_cache(1024)
def _name_and_kind(name: str, kind: Kind) -> bytes:
    return _field(5, name.encode()) + bytes((6 << 3, _KINDS[kind]))


def _attribute(key: str, value: object) -> bytes:
    """A `KeyValue` of a span."""
    return _key_value(9, key, value)


@lru_cache(4096, typed=True)
def _repeated(key: str, value: object) -> bytes:
    """As `_attribute`, for values that many spans have."""
    return _key_value(9, key, value)


def _key_value(number: int, key: str, value: object) -> bytes:
    return _field(number, _field(1, key.encode()) + _field(2, _value(value)))


def _value(value: object) -> bytes:
    """An `AnyValue`."""
    match value:
        case str():
            return _field(1, value.encode(errors="replace"))
        case bool():
            return b"\x10\x01" if value else b"\x10\x00"
        case int():
            return b"\x18" + _varint(value & _INT_64)
        case float():
            return b"\x21" + _DOUBLE.pack(value)
        case list() | tuple():
            return _field(5, b"".join(_field(1, _value(each)) for each in value))
    raise TypeError(f"no attribute of a span has the type {type(value).__name__}")


def _field(number: int, data: bytes) -> bytes:
    """A field of bytes, text or a message."""
    return b"%c%b%b" % (number << 3 | _LENGTH_DELIMITED, _varint(len(data)), data)


def _varint(number: int) -> bytes:
    if number < 0x80:
        return _SMALL[number]
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


_SMALL: Final = tuple(bytes((number,)) for number in range(0x80))
