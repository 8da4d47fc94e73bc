"""H2, D6: the answer of a provider gives each text its own vector, or it is an error."""

from __future__ import annotations

import base64
import json
import math
from array import array
from typing import Any

import pytest

from services.worker.embedding.answer import read_vectors
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.errors.wire_errors import MalformedReply, ProviderErrorEvent

VECTORS = [[0.5, -0.25], [1.0, 0.0], [2.0**50, -3.5]]


def encoded(vector: list[float]) -> str:
    return base64.b64encode(array("f", vector).tobytes()).decode()


def answer(*items: Any, **fields: Any) -> bytes:
    return json.dumps({"object": "list", "data": items, "model": "m", **fields}).encode()


def items(*, base64_: bool = True) -> list[dict[str, Any]]:
    return [
        {"object": "embedding", "index": index, "embedding": encoded(vector) if base64_ else vector}
        for index, vector in enumerate(VECTORS)
    ]


@pytest.mark.parametrize("base64_", [True, False])
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_h2_vectors_are_in_the_order_of_their_texts(base64_: bool, order: list[int]) -> None:
    shuffled = [items(base64_=base64_)[at] for at in order]
    read = read_vectors(answer(*shuffled, usage={"prompt_tokens": 7}), 3, 2)
    assert [array("f", each).tolist() for each in read.vectors] == VECTORS
    assert read.counted.input_tokens == 7
    assert read.as_floats is not base64_


def test_h2_a_provider_that_numbers_nothing_answers_in_order() -> None:
    unnumbered = [{"embedding": each["embedding"]} for each in items()]
    assert len(read_vectors(answer(*unnumbered), 3, 2).vectors) == 3


def _changed(place: int, **fields: Any) -> list[dict[str, Any]]:
    return [{**each, **(fields if at == place else {})} for at, each in enumerate(items())]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"<html>",
        b'{"data": null}',
        answer(),
        answer(*items()[:2]),
        answer(*items(), items()[0]),
        answer(*_changed(1, index=0)),
        answer(*_changed(1, index=3)),
        answer(*_changed(1, index=None)),
        answer(*_changed(1, embedding=encoded([1.0]))),
        answer(*_changed(1, embedding=encoded([1.0, 2.0, 3.0]))),
        answer(*_changed(1, embedding="!!")),
        answer(*_changed(1, embedding=[1.0, "2"])),
        answer(*_changed(1, embedding=[1.0, True])),
        answer(*_changed(1, embedding=[1.0])),
        answer(*_changed(1, embedding=encoded([math.nan, 0.0]))),
        answer(*_changed(2, embedding=encoded([0.0, -math.inf]))),
        answer(*_changed(0, embedding=[1e39, 0.0])),
        b"\xff" + answer(*items()),
        *(
            answer(*({**each, "embedding": encoded([number] * 2)} for each in items()))
            for number in (0.0, -0.0, 1e30, 1e38, 1e-30, 1e-45)
        ),
    ],
)
def test_d6_an_answer_without_a_vector_for_each_text_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedReply):
        read_vectors(body, 3, 2)


@pytest.mark.parametrize(
    ("number", "flaw"), [(0.0, "zero"), (-0.0, "zero"), (1e30, "of the length"), (1e-30, "of the length")]
)
def test_d6_a_text_without_a_direction_is_searched_in_the_halves_of_the_batch(
    number: float, flaw: str
) -> None:
    with pytest.raises(ProviderFailure, match=f"vector 1 is {flaw}") as raised:
        read_vectors(answer(*_changed(1, embedding=encoded([number, number]))), 3, 2)
    assert raised.value.kind == "unclear"


def test_d6_the_only_vector_without_a_direction_is_a_fault_of_its_text() -> None:
    """Found alone, by halving a batch: were it the model's fault, the whole index request would fail with it."""
    with pytest.raises(ProviderFailure, match="vector 0 is zero") as raised:
        read_vectors(answer({"index": 0, "embedding": [0.0, -0.0]}), 1, 2)
    assert raised.value.kind == "unclear"


def test_d11_an_error_beside_complete_vectors_is_an_error() -> None:
    with pytest.raises(ProviderErrorEvent, match="out of credits"):
        read_vectors(answer(*items(), error={"message": "out of credits", "code": "quota"}), 3, 2)
    for nothing in (None, {}, "", {"code": 0, "message": "success"}):
        assert len(read_vectors(answer(*items(), error=nothing), 3, 2).vectors) == 3


def test_d11_an_error_with_a_status_of_success_is_an_error() -> None:
    body = json.dumps({"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}}).encode()
    with pytest.raises(ProviderErrorEvent, match="Rate limit reached"):
        read_vectors(body, 3, 2)
