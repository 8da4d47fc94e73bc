"""Strict decoding of request bodies: every error is an InvalidField that names the field and what to write there."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw

from penstock.contract.field_problem import field_problem
from penstock.runtime.json_values import MAX_BODY_VALUES, has_more_values
from services.edge.dialects.dialect import InvalidField
from services.edge.dialects.misplaced_options import refuse_misplaced

__all__ = ["NULL", "absent", "check", "decode", "decode_fields", "given"]

NULL: Final = Raw(b"null")
"""The value of a Raw field that is absent."""

_Value = TypeVar("_Value")
_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw])
_decode_any: Final = msgspec.json.Decoder()


def absent() -> Raw:
    """The default of a Raw field; a factory, because JSON Schemas cannot show a Raw value as a default."""
    return NULL


def check(body: bytes, *, accepted: Collection[str] = ()) -> None:
    """Raises InvalidField unless all of the body is JSON that every decoder accepts: without lone surrogates, numbers
    out of range, deep nesting or too many values. This includes fields that are not decoded later. Of the options of
    Penstock it may have those that are `accepted`.
    """
    if has_more_values(body, MAX_BODY_VALUES):
        raise InvalidField("body", f"the body has more than {MAX_BODY_VALUES:,} values, which is the limit")
    fields = decode(_decode_any, body)
    if isinstance(fields, dict):
        refuse_misplaced(fields, accepted=accepted)


def decode_fields(body: bytes, *, accepted: Collection[str] = ()) -> dict[str, Raw]:
    """The fields of the object `body`, which is checked as `check` does. Raises InvalidField."""
    check(body, accepted=accepted)
    return decode(_decode_fields, body)


def decode(decoder: msgspec.json.Decoder[_Value], data: bytes | Raw, field: str = "") -> _Value:
    """Decode `data`, the value of `field`; empty: the whole body. Raises InvalidField."""
    try:
        return decoder.decode(data)
    except (ValueError, RecursionError) as error:  # those of msgspec and UnicodeDecodeError are ValueErrors
        found = field_problem(error, field)
        raise InvalidField(found.field or "body", found.problem) from error


def given(**values: Any) -> dict[str, Any]:
    """The fields of an object of which None stands for an absent one."""
    return {name: value for name, value in values.items() if value is not None}
