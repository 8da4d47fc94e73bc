"""K2: what the embeddings endpoint accepts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.edge.dialects.dialect import InvalidField
from services.edge.embeddings.request import read_embeddings


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "embed", "input": "hello", **fields}).encode()


@pytest.mark.parametrize("given", ["hello", ["a", "b"], [1, 2], [[1, 2], [3]], ["a"] * 2_048])
def test_k2_every_shape_of_openai_is_read(given: Any) -> None:
    written = body(input=given, encoding_format="base64", dimensions=8, user="u", unknown={"a": 1})
    call = read_embeddings(written)
    assert (call.model, call.encoding, call.user) == ("embed", "base64", "u")
    assert bytes(call.body) == written


def test_k2_numbers_are_the_default() -> None:
    assert read_embeddings(body()).encoding == read_embeddings(body(encoding_format=None)).encoding == "float"
    assert read_embeddings(body(user=None)).user == ""


def test_k2_a_hundred_thousand_tokens_are_read() -> None:
    assert read_embeddings(body(input=[[7] * 1_000] * 300)).model == "embed"


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"input": None}, "input", "input must be text or a list, not null"),
        ({"input": 7}, "input", "input must be text or a list, not a number"),
        ({"input": ""}, "input", "input is empty"),
        ({"input": []}, "input", "input is empty"),
        ({"input": ["a", "b", ""]}, "input[2]", "input[2] is empty"),
        ({"input": [[1], []]}, "input[1]", "input[1] is empty"),
        ({"input": ["a", "b", "c", 4]}, "input[3]", "input[3] must be text, as input[0]"),
        ({"input": [[1], 2]}, "input[1]", "input[1] must be a list of tokens, as input[0]"),
        ({"input": [[1], ["a"]]}, "input[1][0]", "input[1][0] must be a number, not text"),
        ({"input": [1, -1]}, "input[1]", "input[1] must be at least 0"),
        ({"input": ["a"] * 2_049}, "input", "send at most 2,048"),
        ({"input": [[1] * 1_000] * 501}, "body", "more than 500,000 values"),
        ({"encoding_format": "int8"}, "encoding_format", "encoding_format"),
        ({"dimensions": 0}, "dimensions", "dimensions"),
        ({"dimensions": "8"}, "dimensions", "dimensions must be a number, not text"),
        ({"model": 3}, "model", "model must be text"),
    ],
)
def test_k1_an_invalid_request_names_the_field(fields: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InvalidField) as caught:
        read_embeddings(body(**fields))
    assert caught.value.field == field
    assert message in caught.value.message


@pytest.mark.parametrize("missing", ["input", "model"])
def test_k1_a_missing_field_is_named(missing: str) -> None:
    fields = {"input": "a", "model": "embed"}
    del fields[missing]
    with pytest.raises(InvalidField, match=f"{missing} is missing") as caught:
        read_embeddings(json.dumps(fields).encode())
    assert caught.value.field == missing


@pytest.mark.parametrize("written", [b"", b"{", b"[]", b'{"input":"\xff","model":"m"}', b"[" * 100_000])
def test_k1_a_body_that_is_not_an_object_of_json_is_refused(written: bytes) -> None:
    with pytest.raises(InvalidField):
        read_embeddings(written)
