"""H2: the bodies of embed requests, and the keys of their texts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.runtime.retrieval.embed_body import InvalidEmbedBody, read_embed_body
from penstock.runtime.retrieval.embedding_key import EmbeddingKeys
from services.worker.embedding.token_shares import tokens_of


def read(given: Any, **fields: Any) -> Any:
    return read_embed_body(json.dumps({"input": given, **fields}).encode())


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ("a text", ("a text",)),
        (["a", "b"], ("a", "b")),
        ([1, 2, 3], ([1, 2, 3],)),
        ([[1], [2, 3]], ([1], [2, 3])),
    ],
)
def test_h2_a_body_has_texts_or_tokens(given: Any, texts: tuple[Any, ...]) -> None:
    assert read(given, model="ignored", encoding_format="float").texts == texts


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("", r"input\[0\] is empty"),
        ([], "input is empty"),
        (["a", ""], r"input\[1\] is empty"),
        ([[1], []], r"input\[1\] is empty"),
        (["a", 1], "mixes"),
        ([1, [1]], "mixes"),
        ([-1], "invalid"),
        ([1.5], "invalid"),
        ([True], "invalid"),
        (None, "invalid"),
        ({"text": "a"}, "invalid"),
        (["a"] * 2_049, "2,048 are the most"),
    ],
)
def test_d5_another_body_is_refused_with_the_reason(given: Any, says: str) -> None:
    with pytest.raises(InvalidEmbedBody, match=says):
        read(given)


@pytest.mark.parametrize("dimensions", [0, -1, "256", 1.5, 10**6])
def test_d5_dimensions_are_a_number_of_at_least_one(dimensions: Any) -> None:
    with pytest.raises(InvalidEmbedBody, match="dimensions"):
        read("a", dimensions=dimensions)


def test_h2_keys_differ_in_space_dimensions_and_text() -> None:
    spaces = ["m", "m:2", "2:m", ""]
    texts = ["1,2", "text:1,2", [1, 2], [12], "a\ud800", "256:text:a", "é"]
    keys = [
        EmbeddingKeys(space, dimensions).of(text)
        for space in spaces
        for dimensions in (2, 25, 256)
        for text in texts
    ]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 64 for key in keys)
    assert EmbeddingKeys("m", 2).of_all(["b", "a"]) == [EmbeddingKeys("m", 2).of(each) for each in "ba"]


def test_c1_the_tokens_of_a_request_are_shared_out_by_length() -> None:
    assert tokens_of(["a" * 100, "b" * 300, "c"], 401) == [100, 300, 1]
    assert tokens_of([[1, 2, 3], [4]], 99) == [3, 1]
    assert all(each >= 1 for each in tokens_of(["a", "bb"], 0))
