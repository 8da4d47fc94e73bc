"""Strict decoding of request bodies: every error is an InvalidField that names the field and what to write there."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw

from penstock.runtime.json_values import MAX_BODY_VALUES, has_more_values
from services.edge.dialects.dialect import InvalidField

__all__ = ["NULL", "absent", "check", "decode", "decode_fields", "given"]

NULL: Final = Raw(b"null")
"""The value of a Raw field that is absent."""

_KINDS: Final = {
    "int": "a number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}
_PATH: Final = re.compile(r" - at `\$\.?([^`]*)`$")
_MISMATCH: Final = re.compile(r"^Expected `([^`]*)`, got `(\w+)`")
_BOUND: Final = re.compile(r"^Expected `(?:int|float)` (<=|>=|<|>) (\S+)")
_BOUNDS: Final = {"<=": "at most", ">=": "at least", "<": "below", ">": "above"}
_NO_CHOICE: Final = re.compile(r"^Invalid enum value ('[^']{0,100}'|\d+)")
_MISSING: Final = re.compile(r"^Object missing required field `(.*?)`")

_Value = TypeVar("_Value")
_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw])
_decode_any: Final = msgspec.json.Decoder()


def absent() -> Raw:
    """The default of a Raw field; a factory, because JSON Schemas cannot show a Raw value as a default."""
    return NULL


def check(body: bytes) -> None:
    """Raises InvalidField unless all of the body is JSON that every decoder accepts: without lone surrogates, numbers
    out of range, deep nesting or too many values. This includes fields that are not decoded later.
    """
    if has_more_values(body, MAX_BODY_VALUES):
        raise InvalidField("body", f"the body has more than {MAX_BODY_VALUES:,} values, which is the limit")
    decode(_decode_any, body)


def decode_fields(body: bytes) -> dict[str, Raw]:
    """The fields of the object `body`, which is checked. Raises InvalidField."""
    check(body)
    return decode(_decode_fields, body)


def decode(decoder: msgspec.json.Decoder[_Value], data: bytes | Raw, field: str = "") -> _Value:
    """Decode `data`, the value of `field`; empty: the whole body. Raises InvalidField."""
    try:
        return decoder.decode(data)
    except (ValueError, RecursionError) as error:  # those of msgspec and UnicodeDecodeError are ValueErrors
        raise _invalid(error, field) from error


def given(**values: Any) -> dict[str, Any]:
    """The fields of an object of which None stands for an absent one."""
    return {name: value for name, value in values.items() if value is not None}


def _invalid(error: Exception, field: str) -> InvalidField:
    text = str(error)
    if isinstance(error, RecursionError):
        return InvalidField(field or "body", f"{field or 'the body'} is nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return InvalidField(field or "body", f"{field or 'the body'} is not UTF-8 text")
    if not isinstance(error, msgspec.ValidationError):
        return InvalidField(field or "body", f"{field or 'the body'} is not valid JSON: {text}")
    place = _PATH.search(text)
    path = _join(field, place[1].partition("[...]")[0] if place else "")
    if missing := _MISSING.match(text):
        path = _join(path, missing[1])
        return InvalidField(path, f"{path} is missing")
    subject = path or "the body"
    if mismatch := _MISMATCH.match(text):
        expected = dict.fromkeys(
            _KINDS.get(each, each) for each in mismatch[1].split(" | ") if each != "null"
        )
        got = _KINDS.get(mismatch[2], mismatch[2])
        return InvalidField(path or "body", f"{subject} must be {' or '.join(expected)}, not {got}")
    return InvalidField(path or "body", f"{subject} {_reason(text)}")


def _reason(text: str) -> str:
    if bound := _BOUND.match(text):
        return f"must be {_BOUNDS[bound[1]]} {bound[2]}"
    if value := _NO_CHOICE.match(text):
        return f"cannot be {value[1]}"
    return f"is not valid: {_PATH.sub('', text)}"


def _join(outer: str, inner: str) -> str:
    return f"{outer}.{inner}" if outer and inner and not inner.startswith("[") else outer + inner
