"""Strict decoding of request bodies."""

from __future__ import annotations

import json

import msgspec
import pytest
from msgspec import Raw, Struct

from penstock.contract.retrieval.search import Rag
from services.edge.dialects.chat import ChatDialect
from services.edge.dialects.dialect import Dialect, InvalidField
from services.edge.dialects.messages import MessagesDialect
from services.edge.dialects.request_json import NULL, decode, decode_fields, given
from services.edge.dialects.responses import ResponsesDialect


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


MANY = 120_000


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        (b"[", b"0", b"]"),
        (b"[", b"{}", b"]"),
        (b"[", b'{"a":{}}', b"]"),
        (b"[", b'""', b"]"),
        (b"{", b'"%d":0', b"}"),
        (b"[", b"0", b""),
    ],
    ids=["numbers", "objects", "nested", "texts", "members", "unclosed"],
)
@pytest.mark.parametrize("dialect", [ChatDialect(), ResponsesDialect(), MessagesDialect()])
def test_d10_too_many_values_are_an_error_that_names_the_limit(
    dialect: Dialect, before: bytes, value: bytes, after: bytes
):
    """Decoding 8 MB of them takes 1.5 s, in which the edge does nothing else."""
    values = before + b",".join(value % n if b"%" in value else value for n in range(MANY)) + after
    with pytest.raises(InvalidField, match="more than 100,000 values") as invalid:
        dialect.read(b'{"model":"m","messages":[{"role":"user","content":"hi"}],"x":%s}' % values)
    assert invalid.value.field == "body"


def test_e1_a_long_text_is_not_many_values():
    text = json.dumps([{"a": [1, 2, "x"]}] * MANY)
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
    assert bytes(ChatDialect().read(body).body) == body


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"collection":"d","top_k":500}', "rag.top_k must be at most 100"),
        (b'{"collection":"d","top_k":0}', "rag.top_k must be at least 1"),
        (b'{"collection":"d","min_score":1.5}', "rag.min_score must be at most 1"),
    ],
)
def test_l13_a_number_out_of_its_bounds_is_refused_in_plain_words(data: bytes, message: str):
    with pytest.raises(InvalidField) as refused:
        decode(msgspec.json.Decoder(Rag), data, "rag")
    assert str(refused.value).startswith(message)
