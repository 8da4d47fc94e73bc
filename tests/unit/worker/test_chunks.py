from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from schemas.reply import Usage
from services.worker.calls.chunks import BrokenStream, ChunkReader, MalformedChunk, Piece, ProviderErrorEvent


def chunk(*choices: object, **top: object) -> bytes:
    base = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-mini-2024-07-18",
    }
    return json.dumps({**base, "choices": choices, **top}).encode()


def choice(
    delta: object, finish_reason: str | None = None, index: int = 0, **more: object
) -> dict[str, object]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason, **more}


def test_plain_text_is_text():
    reader = ChunkReader()
    assert reader.read(chunk(choice({"role": "assistant", "content": "", "refusal": None}))) is None
    assert reader.read(chunk(choice({"content": "Hé"}), usage=None, service_tier="default")) == Piece("Hé")
    assert reader.read(chunk(choice({}, "stop"))) is None
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    assert reader.read(chunk(usage=usage)) is None
    end = reader.end(done=True)
    assert (end.finish_reason, end.finish_reasons) == ("stop", {0: "stop"})
    assert (end.model, end.response_id) == ("gpt-4o-mini-2024-07-18", "chatcmpl-1")
    assert end.usage == Usage(input_tokens=9, output_tokens=2)


def test_text_beside_the_finish_reason_is_kept():
    reader = ChunkReader()
    assert reader.read(chunk(choice({"content": "last"}, "length"))) == Piece("last")
    assert reader.end(done=True).finish_reason == "length"


@pytest.mark.parametrize(
    "unusual",
    [
        choice({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]}),
        choice({"reasoning": "hm", "channel": "analysis"}),
        choice({"reasoning_content": "hm"}),
        choice({"refusal": "no"}),
        choice({"content": [{"type": "text", "text": "x"}]}),
        choice({"content": "x", "unknown": None}),
        choice({"role": "tool", "content": "x"}),
        choice({"content": "x"}, index=1),
        choice({"content": "x"}) | {"logprobs": {"content": []}},
        choice({"content": "x"}, content_filter_results={}),
    ],
)
def test_what_is_not_plain_text_passes_untouched__e1(unusual):
    raw = Raw(json.dumps(unusual).encode())
    reader = ChunkReader()
    assert reader.read(chunk(unusual)) == Piece("", (raw,))


def test_several_choices_keep_their_order_and_their_own_finish_reasons():
    first, second = choice({"content": "a"}, "stop"), choice({"content": "b"}, index=1)
    reader = ChunkReader()
    assert reader.read(chunk(second, first)) == Piece(
        "", (Raw(json.dumps(second).encode()), Raw(json.dumps(first).encode()))
    )
    with pytest.raises(BrokenStream, match="1"):
        reader.end(done=True)
    reader.read(chunk(choice({}, "tool_calls", index=1)))
    assert reader.end(done=True).finish_reasons == {0: "stop", 1: "tool_calls"}


@pytest.mark.parametrize(
    ("payloads", "done", "reason"),
    [
        ([chunk(choice({"content": "x"}, "stop"))], False, "DONE"),
        ([chunk(choice({"content": "x"}))], True, "finish_reason"),
        ([chunk(choice({"content": "x"}, "error"))], True, "error"),
        ([chunk(usage={"prompt_tokens": 1})], True, "choice"),
        ([], True, "choice"),
    ],
)
def test_a_stream_without_its_end_is_never_complete__d6(payloads, done, reason):
    reader = ChunkReader()
    for payload in payloads:
        reader.read(payload)
    with pytest.raises(BrokenStream, match=reason):
        reader.end(done=done)


@pytest.mark.parametrize(
    "payload",
    [
        *(
            b"",
            b"{",
            b"null",
            b"[]",
            b'"text"',
            b"{}",
            b'{"choices":null}',
            b'{"choices":{}}',
            b'{"choices":[1]}',
        ),
        b'{"choices":[{"index":"0","delta":{"content":"x"}}]}',
        b'{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":1}]}',
        b'{"choices":[{"index":0,"delta":{"content":"x"}}]}garbage',
        b'{"choices":[{"index":0,"delta":{"content":"\xff"}}]}',
        b'{"choices":[{"index":0,"delta":{"reasoning":"\xff"}}]}',
        b'{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"%s"}]}' % (b"s" * 300),
        b"<html>502</html>",
    ],
)
def test_what_is_not_a_chunk_is_refused__d6(payload):
    with pytest.raises(MalformedChunk):
        ChunkReader().read(payload)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ({"message": "busy", "type": "server_error", "code": "overloaded"}, "overloaded", "busy"),
        ({"message": "busy", "type": "server_error", "code": None}, "server_error", "busy"),
        ({"message": "busy", "code": 503}, "503", "busy"),
        ("busy", None, "busy"),
        ({"reason": 1}, None, "the provider reported an error without a message"),
    ],
)
def test_an_error_inside_the_stream_is_an_error(error, code, message):
    for payload in (json.dumps({"error": error}).encode(), chunk(choice({}, "error"), error=error)):
        with pytest.raises(ProviderErrorEvent) as caught:
            ChunkReader().read(payload)
        assert (caught.value.error.code, caught.value.error.message) == (code, message)


def test_groq_says_usage_and_errors_in_its_own_corner():
    reader = ChunkReader()
    reader.read(chunk(choice({"role": "assistant", "content": ""}), x_groq={"id": "req_1"}))
    usage = {
        "queue_time": 0.1,
        "prompt_tokens": 40,
        "completion_tokens": 5,
        "total_tokens": 45,
        "total_time": 0.2,
    }
    reader.read(chunk(choice({}, "stop"), x_groq={"id": "req_1", "usage": usage}))
    assert reader.end(done=True).usage == Usage(input_tokens=40, output_tokens=5)
    with pytest.raises(ProviderErrorEvent, match="over capacity"):
        reader.read(chunk(x_groq={"id": "req_1", "error": "over capacity"}))


@pytest.mark.parametrize(
    "late", [choice({"content": " TWO"}), choice({"reasoning": "hm"}), choice({"tool_calls": [{"index": 0}]})]
)
def test_a_choice_that_goes_on_after_its_end_is_broken__d6(late):
    reader = ChunkReader()
    reader.read(chunk(choice({"content": "one"}, "stop")))
    with pytest.raises(BrokenStream, match="choice 0 went on"):
        reader.read(chunk(late))


@pytest.mark.parametrize(
    "late",
    [
        choice({}),
        choice({"role": "assistant", "content": ""}),
        choice({"content": "", "reasoning": None}),
        choice({}) | {"content_filter_results": {"hate": {"filtered": False}}},
        choice({"content": "the other choice"}, index=1) | {"finish_reason": "stop"},
    ],
)
def test_what_servers_send_after_the_end_without_adding_to_it_is_let_through(late):
    reader = ChunkReader()
    reader.read(chunk(choice({"content": "one"}, "stop")))
    reader.read(chunk(late))
    assert reader.end(done=True).finish_reason == "stop"


@pytest.mark.parametrize("more", [{}, {"content_filter_results": {}}])
def test_an_empty_finish_reason_is_none__d6(more):
    reader = ChunkReader()
    reader.read(chunk(choice({"content": "half an ans"}, "") | more))
    with pytest.raises(BrokenStream, match="finish_reason"):
        reader.end(done=True)


@pytest.mark.parametrize("where", [{"usage": {"prompt_tokens": 5.0}}, {"x_groq": {"usage": {"x": -1}}}])
def test_unreadable_usage_discards_neither_the_text_nor_earlier_usage__d6(where):
    reader = ChunkReader()
    reader.read(chunk(usage={"prompt_tokens": 3, "completion_tokens": 1}))
    assert reader.read(chunk(choice({"content": "hi"}, "stop"), **where)) == Piece("hi")
    assert reader.end(done=True).usage == Usage(input_tokens=3, output_tokens=1)


def test_names_of_any_length_are_clipped():
    reader = ChunkReader()
    reader.read(chunk(choice({"content": "x"}, "stop"), id="i" * 9000, model="m" * 9000))
    end = reader.end(done=True)
    assert (end.response_id, end.model) == ("i" * 256, "m" * 256)


def test_details_of_usage_may_be_null_or_there_i3():
    reader = ChunkReader()
    reader.read(chunk(usage={"prompt_tokens": 1, "prompt_tokens_details": None, "completion_tokens": None}))
    assert reader.usage == Usage(input_tokens=1)
    reader.read(
        chunk(
            usage={
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 32},
            }
        )
    )
    assert reader.usage == Usage(
        input_tokens=100, output_tokens=50, cached_input_tokens=64, reasoning_tokens=32
    )


def test_the_first_id_and_model_that_say_something_count():
    reader = ChunkReader()
    reader.read(chunk(id="", model="", prompt_filter_results=[]))
    reader.read(chunk(choice({"content": "x"}), id="a", model="m"))
    assert (reader.response_id, reader.model) == ("a", "m")


@given(st.lists(st.text(min_size=1), max_size=20))
def test_the_text_of_the_pieces_is_the_text_of_the_stream(texts):
    reader = ChunkReader()
    pieces = [reader.read(chunk(choice({"content": text}))) for text in texts]
    assert "".join(piece.text for piece in pieces if piece) == "".join(texts)


@given(st.binary(max_size=60))
def test_garbage_is_a_malformed_chunk_and_nothing_else(garbage):
    with pytest.raises(MalformedChunk):
        ChunkReader().read(b"{" + garbage)
