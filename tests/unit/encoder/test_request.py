"""Bodies of POST /v1/embeddings: what is accepted, and what the errors say."""

from __future__ import annotations

import base64
import json
import struct

import pytest

from services.encoder.errors import ApiError
from services.encoder.request import MODEL, answer, decode


def body(**fields: object) -> bytes:
    return json.dumps({"model": MODEL, "input": "text", **fields}).encode()


def test_h2_one_text_or_many():
    assert decode(body()).texts == ["text"]
    assert decode(body(input=["a", ""], user="ann")).texts == ["a", ""]


@pytest.mark.parametrize(
    ("sent", "status", "message"),
    [
        (body(model="other"), 404, "does not exist; the encoder has `local-multilingual`"),
        (body(input=[]), 400, "empty list"),
        (body(input=[1, 2]), 400, "token ids"),
        (body(input=[[1, 2]]), 400, "token ids"),
        (body(input=["a", None]), 400, "token ids"),
        (body(input=["a"] * 2_049), 400, "2049 texts; at most 2048"),
        (body(input="a" * 200_001), 400, "200001 characters; at most 200000"),
        (body(input=7), 400, "not a valid request"),
        (body(dimensions=0), 400, "dimensions"),
        (body(dimensions=513), 400, "dimensions"),
        (body(encoding_format="int8"), 400, "encoding_format"),
        (b"{", 400, "not a valid request"),
        (b'{"model": "\xff"}', 400, "not a valid request"),
        (b"[" * 100_000, 400, "not a valid request"),
        (b"", 400, "not a valid request"),
    ],
)
def test_h2_an_invalid_body_is_named(sent: bytes, status: int, message: str):
    with pytest.raises(ApiError, match=message) as caught:
        decode(sent)
    assert caught.value.status == status
    assert set(json.loads(caught.value.body())["error"]) == {"message", "type", "param", "code"}


def test_h2_both_encodings_have_the_same_numbers():
    vector = struct.pack("<3f", 0.5, -0.25, 1.0)
    as_floats = json.loads(answer(decode(body()), [memoryview(vector)]))
    as_base64 = json.loads(answer(decode(body(encoding_format="base64")), [memoryview(vector)]))
    assert as_floats["data"][0]["embedding"] == [0.5, -0.25, 1.0]
    assert base64.b64decode(as_base64["data"][0]["embedding"]) == vector
    assert as_floats["model"] == MODEL
    assert as_floats["usage"] == {"prompt_tokens": 1, "total_tokens": 1}
