"""H5: what a store does not take is refused before anything is written."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable

import msgspec
import pytest

from services.indexer.store.checks import check_change, check_question, single_words, storable, vector_of
from services.indexer.store.interface import DocumentChunks, EmbeddedChunk, FilterTerm, Question
from tests.harness.indexer.stored_documents import DIMENSIONS, document, vector

GOOD = document("a", ["one", "two"], metadata={"k": "v"})


def with_chunk(**fields: object) -> DocumentChunks:
    first, second = GOOD.chunks
    changed = EmbeddedChunk(msgspec.structs.replace(second.chunk, **fields), second.vector)
    return DocumentChunks(GOOD.document, (first, changed))


def with_vector(data: bytes) -> DocumentChunks:
    return DocumentChunks(GOOD.document, (EmbeddedChunk(GOOD.chunks[0].chunk, data),))


def with_head(**fields: object) -> DocumentChunks:
    return DocumentChunks(msgspec.structs.replace(GOOD.document, **fields), GOOD.chunks)


def floats(*values: float) -> bytes:
    return array("f", [*values, *[1.0] * (DIMENSIONS - len(values))]).tobytes()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (with_chunk(id="' OR 1=1"), "is not a digest"),
        (with_chunk(id=GOOD.chunks[0].chunk.id), "the same id"),
        (with_chunk(ordinal=0), "not in their order"),
        (with_chunk(ordinal=5), "not in their order"),
        (with_vector(vector("x", 8)), "dimensions"),
        (with_vector(vector("x")[:-1]), "dimensions"),
        (with_vector(bytes(4 * DIMENSIONS)), "zero or not finite"),
        (with_vector(floats(math.nan)), "zero or not finite"),
        (with_vector(floats(math.inf)), "zero or not finite"),
        *(
            (with_vector(floats(*[number] * DIMENSIONS)), "zero or not finite")
            for number in (-0.0, 1e30, 1e-30)
        ),
        (with_head(tags=("plain text",)), "is not a digest"),
        (with_head(id=""), "is not the id"),
        (with_head(id="a\0b"), "is not the id"),
        (with_head(id="a\ud800"), "is not the id"),
    ],
)
def test_h5_a_wrong_document_is_refused(wrong: DocumentChunks, message: str):
    check_change(DIMENSIONS, 1, [GOOD], [])
    with pytest.raises(ValueError, match=message):
        check_change(DIMENSIONS, 1, [wrong], [])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: check_change(DIMENSIONS, 0, [GOOD], []), "below 1"),
        (lambda: check_change(DIMENSIONS, 1, [GOOD, GOOD], []), "named twice"),
        (lambda: check_change(DIMENSIONS, 1, [GOOD], ["a"]), "named twice"),
        (lambda: check_change(DIMENSIONS, 1, [], ["b", "b"]), "named twice"),
        (lambda: check_change(DIMENSIONS, 1, [], ["a\0"]), "is not the id"),
        (lambda: check_question(DIMENSIONS, Question(vector("x", 8), 10)), "dimensions"),
        (lambda: check_question(DIMENSIONS, Question(vector("x"), 0)), "below 1"),
        (lambda: vector_of(Question(None, 1)), "needs the vector"),
        (lambda: check_question(DIMENSIONS, Question(vector("x"), 1, (FilterTerm(("x",)),))), "not a digest"),
    ],
)
def test_h5_a_wrong_call_is_refused(call: Callable[[], None], message: str):
    with pytest.raises(ValueError, match=message):
        call()


def test_h5_texts_become_storable():
    assert storable("a\0b\ud800c\udfffd") == "a\ufffdb\ufffdc\ufffdd"
    assert storable("ключ 😀\n") == "ключ 😀\n"


def test_h5_only_single_words_are_searched():
    assert single_words(["one", "two three", "", " ", "x ", "c++", "o'r"]) == ["one", "c++", "o'r"]
