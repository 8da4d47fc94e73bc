"""Fields of a JSON object that stay encoded, and tests of what an encoded value holds."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw

from services.worker.providers.size_limits import clip_name

__all__ = [
    "ABSENT",
    "decode_any",
    "decode_fields",
    "decode_list",
    "encoded",
    "fields_of",
    "has_data",
    "is_set",
    "name_of",
    "value_has_data",
]

ABSENT: Final = Raw(b"null")
"""The value of a field that is missing or null."""
_EMPTY: Final = frozenset((b"null", b'""', b"[]", b"{}"))

decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode
decode_list: Final = msgspec.json.Decoder(list[Raw]).decode
decode_any: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


def encoded(value: object) -> Raw:
    return Raw(_encode(value))


def fields_of(raw: Raw | bytes) -> dict[str, Raw] | None:
    """The fields of a JSON object; None for any other value. Raises ValueError or RecursionError for invalid JSON."""
    try:
        return decode_fields(raw)
    except msgspec.ValidationError:
        return None


def is_set(raw: Raw) -> bool:
    """Whether the value is neither null nor empty."""
    return bytes(raw) not in _EMPTY


def has_data(raw: Raw) -> bool:
    """Whether the value holds anything that is neither null nor empty, at any depth."""
    data = bytes(raw)
    return data not in _EMPTY and (data[0] not in b"[{" or value_has_data(decode_any(data)))


def value_has_data(value: Any) -> bool:
    """The same as `has_data`, for a decoded value."""
    if isinstance(value, dict):
        return any(map(value_has_data, value.values()))
    if isinstance(value, list):
        return any(map(value_has_data, value))
    return value is not None and value != ""


def name_of(raw: Raw) -> str | None:
    """A response id or a model name, clipped; None for a value that is not text."""
    value = decode_any(raw) if is_set(raw) else None
    return clip_name(value) if isinstance(value, str) else None
