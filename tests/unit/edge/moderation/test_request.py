"""G1: what the moderation endpoint accepts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.edge.dialects.dialect import InvalidField
from services.edge.moderation.request import read_inputs

IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


def read(given: Any) -> list[tuple[str, ...]]:
    return read_inputs(json.dumps({"input": given, "model": "omni-moderation-latest", "more": 1}).encode())


def part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("one", [("one",)]),
        ("", [("",)]),
        (["one", "two"], [("one",), ("two",)]),
        ([part("one"), part("two")], [("one", "two")]),
    ],
)
def test_g1_each_text_is_an_input_and_parts_are_one(given: Any, inputs: list[tuple[str, ...]]):
    assert read(given) == inputs


@pytest.mark.parametrize(
    ("given", "field", "why"),
    [
        ([], "input", "empty"),
        (["one", part("two")], "input", "both"),
        ([part("one"), IMAGE], "input[1]", "images are not moderated"),
        ([{"type": "text"}], "input[0].text", "missing"),
        ([{"type": "audio", "text": "a"}], "input[0].type", "must be text"),
        (["a"] * 129, "input", "128 texts"),
        ("a" * 200_001, "input", "200,000 characters"),
        (["a", "a" * 200_001], "input[1]", "200,000 characters"),
        (["ю" * 199_999] * 3, "input", "1 MiB"),
        (1, "input", "must be"),
        (None, "input", "must be"),
    ],
)
def test_g1_another_input_is_refused_with_its_field(given: Any, field: str, why: str):
    with pytest.raises(InvalidField, match=why) as refused:
        read(given)
    assert refused.value.field == field


def test_g1_a_request_without_input_is_refused():
    with pytest.raises(InvalidField, match="input is missing"):
        read_inputs(b"{}")
