"""E1, F2: the content of choice objects, and the number of bytes in them that the model wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from services.worker.providers.errors.wire_errors import BrokenStream
from services.worker.providers.streams.choices import content_bytes
from services.worker.providers.streams.chunks import ChunkDelta, ChunkReader
from tests.unit.worker.providers.streams.chunk_samples import choice, chunk


@pytest.mark.parametrize(
    ("delta", "beside", "written"),
    [
        ({"content": "Hello"}, {}, 5),
        ({"reasoning_content": "hm, ж"}, {}, 6),
        ({"role": "assistant"}, {"x_score": 0.5, "mood": "calm", "index": 1}, 0),
        ({"reasoning": "why", "reasoning_details": [{"type": "reasoning.text", "text": "why"}]}, {}, 3),
        ({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}}]}, {}, 3),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "so"}]}]}, {}, 2),
        (None, {"content_filter_results": {"hate": {"filtered": False}}}, 0),
    ],
)
def test_only_text_that_the_model_wrote_counts(delta: Any, beside: dict[str, Any], written: int) -> None:
    assert content_bytes(Raw(json.dumps({"delta": delta, **beside}).encode())) == written


@pytest.mark.parametrize("odd", [b"7", b"[]", b'{"delta": 7}', b'{"delta": {"content": 7}}'])
def test_an_invalid_choice_counts_as_0_bytes(odd: bytes) -> None:
    assert content_bytes(Raw(odd)) == 0


@pytest.mark.parametrize(
    "beside",
    [
        {"content_filter_results": {}},
        {"native_finish_reason": None},
        {"logprobs": {"content": []}},
        {"unknown": {"deep": [None, {"empty": ""}]}},
        {"text": "Hello"},  # Together
        {"message": {"role": "assistant", "content": "Hello, and all before it"}},  # Perplexity
        {"stop_reason": None, "token_ids": None, "seed": None},
    ],
)
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"reasoning_details": []},
        {"tool_calls": []},
        {"tool_calls": None, "function_call": None, "audio": None, "refusal": ""},
        {"role": "tool"},
        {"role": None, "strange": []},
        {"reasoning": "", "reasoning_content": None, "obfuscation": "abc"},
    ],
)
def test_text_is_read_beside_any_empty_key(beside, more):
    reader = ChunkReader()
    assert reader.read(chunk(choice({"content": "Hello", **more}, **beside), provider="X")) == ChunkDelta(
        "Hello"
    )
    assert reader.read(chunk(choice({**more}, "stop", **beside))) is None
    assert reader.end(done=True).finish_reason == "stop"


@pytest.mark.parametrize(
    ("more", "beside"),
    [
        ({"reasoning": "hm"}, {}),
        ({"tool_calls": [{"index": 0, "id": "c"}]}, {}),
        ({"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}, {}),
        ({}, {"logprobs": {"content": [{"token": "Hello", "logprob": -0.1}]}}),
        ({}, {"content_filter_results": {"hate": {"filtered": False}}}),
        ({"unknown": 1}, {"unknown": "x"}),
    ],
)
def test_other_content_beside_text_is_passed_on(more, beside):
    piece = ChunkReader().read(chunk(choice({"content": "Hello", **more}, **beside)))
    assert piece.text == "Hello"
    [rest] = [json.loads(bytes(raw)) for raw in piece.choices]
    assert rest == {"logprobs": None, **beside, "index": 0, "delta": more, "finish_reason": None}


def test_a_content_filter_result_is_passed_on_when_it_changes():
    def filtered(text, **verdict):
        return chunk(choice({"content": text}, content_filter_results=verdict))

    reader = ChunkReader()
    pieces = [reader.read(filtered(text, hate=level)) for text, level in zip("abcd", "xxyy", strict=True)]
    assert [(piece.text, len(piece.choices)) for piece in pieces] == [("a", 1), ("b", 0), ("c", 1), ("d", 0)]


def test_content_parts_give_their_text_and_a_choice_with_the_rest():
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    parts = [thinking, {"type": "text", "text": "Hel"}, "lo", {"type": "text", "text": "!", "note": 1}]
    piece = ChunkReader().read(chunk(choice({"content": parts})))
    assert piece.text == "Hello!"
    [rest] = [json.loads(bytes(raw)) for raw in piece.choices]
    assert rest["delta"] == {"content": [thinking, {"note": 1, "type": "text"}]}
    assert ChunkReader().read(chunk(choice({"content": {"type": "text", "text": "x"}}))) == ChunkDelta("x")


@pytest.mark.parametrize("index", [{}, {"index": None}, {"index": "0"}, {"index": 0.0}])
def test_an_index_may_be_missing_or_text(index):
    for delta in ({"content": "x"}, {"content": "x", "strange": None}):
        assert ChunkReader().read(chunk({**index, "delta": delta})) == ChunkDelta("x")


def test_choices_without_an_index_are_numbered_by_position():
    piece = ChunkReader().read(chunk({"delta": {"content": "a"}}, {"delta": {"content": "b"}}))
    assert (piece.text, [json.loads(bytes(raw))["delta"] for raw in piece.choices]) == (
        "a",
        [{"content": "b"}],
    )


def test_a_message_or_text_may_replace_the_delta():
    reader = ChunkReader()
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": "Hi", "tool_calls": [call]}
    piece = reader.read(chunk({"index": 0, "message": message, "finish_reason": "tool_calls"}))
    assert piece.text == "Hi"
    [rest] = [json.loads(bytes(raw)) for raw in piece.choices]
    assert rest["delta"] == {"role": "assistant", "tool_calls": [call]}
    assert "message" not in rest
    assert reader.end(done=True).finish_reason == "tool_calls"
    assert ChunkReader().read(chunk({"index": 0, "text": "Hi"})) == ChunkDelta("Hi")


def test_messages_that_replace_deltas_are_joined():
    reader = ChunkReader()
    pieces = [
        reader.read(chunk({"index": 0, "delta": None, "message": {"content": text}}))
        for text in ("Hel", "lo")
    ]
    assert pieces == [ChunkDelta("Hel"), ChunkDelta("lo")]


def test_a_message_after_deltas_adds_nothing():
    reader = ChunkReader()
    assert reader.read(chunk(choice({"content": "Hi"}))) == ChunkDelta("Hi")
    whole = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    assert reader.read(chunk(whole)) is None
    assert reader.end(done=True).finish_reason == "stop"


@pytest.mark.parametrize(
    "unusual",
    [
        choice({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]}),
        choice({"reasoning": "hm", "channel": "analysis"}),
        choice({"reasoning_content": "hm"}),
        choice({"refusal": "no"}),
        choice({"content": [{"type": "image", "image": "x"}]}),
        choice({"content": "x"}, index=1),
        choice({}, "stop", index=1),
        choice({"content": ""}) | {"logprobs": {"content": [{"token": "x"}]}},
        choice({"content": None}, content_filter_results={"hate": {"filtered": True}}),
    ],
)
def test_e1_content_that_is_not_text_passes_unchanged(unusual):
    raw = Raw(json.dumps(unusual).encode())
    reader = ChunkReader()
    assert reader.read(chunk(unusual)) == ChunkDelta("", (raw,))


def test_several_choices_keep_their_order_and_finish_reasons():
    first, second = choice({"content": "a"}, "stop"), choice({"content": "b"}, index=1)
    reader = ChunkReader()
    assert reader.read(chunk(second, first)) == ChunkDelta("a", (Raw(json.dumps(second).encode()),))
    with pytest.raises(BrokenStream, match="1"):
        reader.end(done=True)
    reader.read(chunk(choice({}, "tool_calls", index=1)))
    assert reader.end(done=True).finish_reasons == {0: "stop", 1: "tool_calls"}
