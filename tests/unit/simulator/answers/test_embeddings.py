import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.simulator.answers.embeddings import embed


@given(st.text(), st.integers(1, 300))
def test_an_embedding_has_length_one(text, dimensions):
    vector = embed(text, dimensions)
    assert len(vector) == dimensions
    assert math.sqrt(sum(value * value for value in vector)) == pytest.approx(1)


def test_similar_texts_have_similar_embeddings():
    def similarity(a, b):
        return sum(x * y for x, y in zip(embed(a, 256), embed(b, 256), strict=True))

    question = "How do I reset my password?"
    assert similarity(question, question) == pytest.approx(1)
    assert similarity(question, "resetting the passwords of my account") > 0.25
    assert similarity(question, "The weather in Ankara is mild") < 0.2
