"""Strict decoding of request bodies."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import Raw, Struct

from services.edge.dialects.dialect import InvalidField
from services.edge.dialects.request_json import NULL, decode, decode_fields, given


class Part(Struct):
    size: int | None = None


class Body(Struct):
    name: str
    parts: list[Part] = []
    rest: Raw = NULL


DECODER = msgspec.json.Decoder(Body)


@pytest.mark.parametrize(
    ("data", "field", "message"),
    [
        (b"{}", "name", "name is missing"),
        (b'{"name":5}', "name", "name must be text, not a number"),
        (b'{"name":"a","parts":[{"size":"x"}]}', "parts", "must be a number, not text"),
        (b"{", "body", "the body is not valid JSON"),
        (b"\xff", "body", "the body is not"),
    ],
)
def test_d10_an_error_names_the_field_and_what_to_write(data: bytes, field: str, message: str):
    with pytest.raises(InvalidField) as invalid:
        decode(DECODER, data)
    assert invalid.value.field.startswith(field)
    assert message in invalid.value.message


def test_d10_the_path_begins_with_the_outer_field():
    with pytest.raises(InvalidField) as invalid:
        decode(DECODER, b'{"name":5}', "tools")
    assert invalid.value.field == "tools.name"


def test_d10_fields_that_are_only_passed_on_are_checked_too():
    assert decode_fields(b'{"a":1.50}') == {"a": Raw(b"1.50")}
    with pytest.raises(InvalidField):
        decode_fields(b'{"a":"\\ud800"}')


def test_an_absent_value_is_left_out():
    assert given(a=1, b=None) == {"a": 1}
    assert decode(DECODER, b'{"name":"n"}').rest == NULL
