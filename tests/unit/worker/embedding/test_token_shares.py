"""H2: the estimated tokens of the texts of a request."""

from __future__ import annotations

import pytest

from penstock.runtime.tokens import text_tokens
from services.worker.embedding.token_shares import most_tokens, tokens_of


def test_h2_an_estimate_is_divided_by_the_length_of_the_texts():
    assert tokens_of(["a" * 300, "b" * 100], 40) == [30, 10]


@pytest.mark.parametrize("estimated", [0, -1])
def test_h2_without_an_estimate_each_text_is_estimated(estimated: int):
    texts = ["two words", "some more words than that"]
    assert tokens_of(texts, estimated) == [round(text_tokens(text)) for text in texts]


def test_h2_token_arrays_are_counted():
    assert tokens_of([[1, 2, 3], [4]], 100) == [3, 1]
    assert tokens_of([[1, 2, 3], "a" * 100], 20) == [3, 20]


@pytest.mark.parametrize("estimated", [0, 1, 100])
def test_h2_every_text_has_a_token(estimated: int):
    assert min(tokens_of(["", "a", "b" * 10_000], estimated)) == 1


@pytest.mark.parametrize(("text", "most"), [("", 8), ("four", 12), ("\u044f", 10), ([5] * 100, 108)])
def test_h2_no_more_tokens_than_bytes_are_believed(text: str | list[int], most: int):
    assert most_tokens(text) == most
