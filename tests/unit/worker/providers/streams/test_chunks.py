from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.runtime.config.catalogue import StreamFormat
from services.worker.providers.errors.classify import failure_of_error_event
from services.worker.providers.errors.read_error import error_in
from services.worker.providers.errors.wire_errors import BrokenStream, MalformedChunk, ProviderErrorEvent
from services.worker.providers.streams.chunks import ChunkDelta, ChunkReader
from services.worker.providers.usage import TokenCounts
from tests.unit.worker.providers.streams.chunk_samples import FAILURE_REASONS, choice, chunk


def counted(reader: ChunkReader) -> tuple[int | None, int | None]:
    assert reader.usage is not None
    return reader.usage.input_tokens, reader.usage.output_tokens


def test_plain_text_is_read():
    reader = ChunkReader()
    assert reader.read(chunk(choice({"role": "assistant", "content": "", "refusal": None}))) is None
    assert reader.read(chunk(choice({"content": "Hé"}), usage=None, service_tier="default")) == ChunkDelta(
        "Hé"
    )
    assert reader.read(chunk(choice({}, "stop"))) is None
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    assert reader.read(chunk(usage=usage)) is None
    end = reader.end(done=True)
    assert (end.finish_reason, end.finish_reasons) == ("stop", {0: "stop"})
    assert (end.model, end.response_id) == ("gpt-4o-mini-2024-07-18", "chatcmpl-1")
    assert end.usage == TokenCounts(input_tokens=9, output_tokens=2, total_tokens=11)


def test_text_beside_the_finish_reason_is_kept():
    reader = ChunkReader()
    assert reader.read(chunk(choice({"content": "last"}, "length"))) == ChunkDelta("last")
    assert reader.end(done=True).finish_reason == "length"


@pytest.mark.parametrize(
    ("payloads", "done", "reason"),
    [
        ([chunk(choice({"content": "x"}))], True, "finish_reason"),
        ([chunk(usage={"prompt_tokens": 1})], True, "choice"),
        ([], True, "choice"),
    ],
)
def test_d6_a_stream_without_its_end_is_incomplete(payloads, done, reason):
    reader = ChunkReader()
    for payload in payloads:
        reader.read(payload)
    with pytest.raises(BrokenStream, match=reason):
        reader.end(done=done)


@pytest.mark.parametrize(("reason", "kind"), FAILURE_REASONS)
def test_d6_a_stream_that_ends_with_a_failure_is_an_error(reason, kind):
    for delta in ({"content": "x"}, {"reasoning": "x"}, {}):
        reader = ChunkReader()
        reader.read(chunk(choice(delta, reason)))
        with pytest.raises(ProviderErrorEvent, match=reason) as caught:
            reader.end(done=True)
        assert failure_of_error_event(caught.value).kind == kind


@pytest.mark.parametrize(
    "reason", ["stop", "length", "tool_calls", "content_filter: OTHER", "sensitive", "eos"]
)
def test_d6_a_stream_that_ends_with_any_other_reason_is_complete(reason):
    reader = ChunkReader()
    reader.read(chunk(choice({"content": "x"}, reason)))
    assert reader.end(done=True).finish_reason == reason


@pytest.mark.parametrize("last", [{}, {"content": ""}])
def test_d6_a_last_chunk_with_stop_hides_no_other_reason(last):
    for reason in ("length", "content_filter", "tool_calls"):
        reader = ChunkReader()
        reader.read(chunk(choice({"content": "x"}, reason)))
        reader.read(chunk(choice(last, "stop")))
        assert reader.end(done=True).finish_reason == reason
    for reason, _ in FAILURE_REASONS:
        reader = ChunkReader()
        reader.read(chunk(choice({"content": "x"}, reason)))
        reader.read(chunk(choice(last, "stop")))
        with pytest.raises(ProviderErrorEvent, match=reason):
            reader.end(done=True)


def test_a_reason_after_stop_replaces_it():
    reader = ChunkReader()
    reader.read(chunk(choice({"content": "x"}, "stop")))
    reader.read(chunk(choice({}, "length")))
    assert reader.end(done=True).finish_reason == "length"


@pytest.mark.parametrize(
    "payload",
    [
        *(b"{", b'"text"', b"7", b'{"choices":{"a":1}}', b'{"choices":[1]}', b'{"choices":[{"delta":"x"}]}'),
        b'{"choices":[{"index":"x","delta":{"content":"x"}}]}',
        b'{"choices":[{"index":-1,"delta":{"content":"x"}}]}',
        b'{"choices":[{"index":0,"delta":{"content":5}}]}',
        b'{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":1}]}',
        b'{"choices":[{"index":0,"delta":{"content":"x"}}]}garbage',
        b'{"choices":[{"index":0,"delta":{"content":"\xff"}}]}',
        b'{"choices":[{"index":0,"delta":{"reasoning":"\xff"}}]}',
        b'{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"%s"}]}' % (b"s" * 300),
        b"<html>502</html>",
    ],
)
def test_d6_an_invalid_chunk_is_an_error(payload):
    with pytest.raises(MalformedChunk):
        ChunkReader().read(payload)


@pytest.mark.parametrize(
    "error",
    [
        {"message": "busy", "type": "server_error", "code": "overloaded"},
        {"message": "busy", "type": "server_error", "code": None},
        {"message": "busy", "code": 503},
        {"error": {"message": "busy"}},
        "busy",
    ],
)
def test_an_error_inside_the_stream_is_raised(error):
    for payload in (
        json.dumps({"error": error}).encode(),
        chunk(choice({}, "error"), error=error),
        chunk(choice({}, "error", error=error)),
        chunk(x_groq={"id": "req_1", "error": error}),
    ):
        with pytest.raises(ProviderErrorEvent, match="busy") as caught:
            ChunkReader().read(payload)
        assert caught.value.error == error_in(error)


def test_an_error_of_unknown_format_is_reported_unchanged():
    with pytest.raises(ProviderErrorEvent, match=r"reason.*why"):
        ChunkReader().read(b'{"error":{"reason":"why"}}')


@pytest.mark.parametrize("error", [None, "", {}, [], False, {"message": ""}])
def test_an_empty_error_is_ignored(error):
    assert ChunkReader().read(chunk(choice({"content": "x"}), error=error)) == ChunkDelta("x")


def test_usage_and_errors_are_read_from_x_groq():
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
    assert counted(reader) == (40, 5)
    with pytest.raises(ProviderErrorEvent, match="over capacity"):
        reader.read(chunk(x_groq={"id": "req_1", "error": "over capacity"}))


@pytest.mark.parametrize(
    "late", [choice({"content": " TWO"}), choice({"reasoning": "hm"}), choice({"tool_calls": [{"index": 0}]})]
)
def test_d6_content_after_the_finish_reason_breaks_the_stream(late):
    reader = ChunkReader()
    reader.read(chunk(choice({"content": "one"}, "stop")))
    with pytest.raises(BrokenStream) as caught:
        reader.read(chunk(late))
    assert str(caught.value) == (
        "choice 0 has content after its finish_reason; if this provider puts one on every chunk, "
        "set stream: {finish_reason: every} for it in the catalogue"
    )


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
def test_chunks_without_content_may_follow_the_finish_reason(late):
    reader = ChunkReader()
    reader.read(chunk(choice({"content": "one"}, "stop")))
    reader.read(chunk(late))
    assert reader.end(done=True).finish_reason == "stop"


@pytest.mark.parametrize("more", [{}, {"content_filter_results": {}}])
def test_d6_an_empty_finish_reason_counts_as_missing(more):
    reader = ChunkReader()
    reader.read(chunk(choice({"content": "half an ans"}, "") | more))
    with pytest.raises(BrokenStream, match="finish_reason"):
        reader.end(done=True)


@pytest.mark.parametrize("where", [{"usage": {"prompt_tokens": "many"}}, {"x_groq": {"usage": {"x": -1}}}])
def test_d6_invalid_usage_keeps_the_text_and_earlier_usage(where):
    reader = ChunkReader()
    reader.read(chunk(usage={"prompt_tokens": 3, "completion_tokens": 1}))
    assert reader.read(chunk(choice({"content": "hi"}, "stop"), **where)) == ChunkDelta("hi")
    assert reader.end(done=True).usage == TokenCounts(input_tokens=3, output_tokens=1)


def test_long_names_are_clipped():
    reader = ChunkReader()
    reader.read(chunk(choice({"content": "x"}, "stop"), id="i" * 9000, model="m" * 9000))
    end = reader.end(done=True)
    assert (end.response_id, end.model) == ("i" * 256, "m" * 256)


def test_i3_details_of_usage_may_be_null_or_given():
    reader = ChunkReader()
    reader.read(chunk(usage={"prompt_tokens": 1, "prompt_tokens_details": None, "completion_tokens": None}))
    assert reader.usage == TokenCounts(input_tokens=1)
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
    assert reader.usage == TokenCounts(
        input_tokens=100,
        output_tokens=50,
        cached_input_tokens=64,
        reasoning_tokens=32,
        audio_input_tokens=0,
    )


def test_the_first_id_and_model_that_are_not_empty_count():
    reader = ChunkReader()
    reader.read(chunk(id="", model="", prompt_filter_results=[]))
    reader.read(chunk(choice({"content": "x"}), id="a", model="m"))
    assert (reader.response_id, reader.model) == ("a", "m")


@given(st.lists(st.text(min_size=1), max_size=20))
def test_the_deltas_have_the_text_of_the_stream(texts):
    reader = ChunkReader()
    pieces = [reader.read(chunk(choice({"content": text}))) for text in texts]
    assert "".join(piece.text for piece in pieces if piece) == "".join(texts)


@given(st.binary(max_size=60))
def test_invalid_json_raises_only_malformed_chunk(garbage):
    with pytest.raises(MalformedChunk):
        ChunkReader().read(b'{"choices":' + garbage + b"[")


@pytest.mark.parametrize(
    "nothing",
    [
        *(
            b"",
            b"  ",
            b"\n",
            b"null",
            b"[]",
            b"{}",
            b'""',
            b'{"choices":null}',
            b'{"choices":{}}',
            b'{"choices":[]}',
        ),
        *(b'{"choices":[null]}', b'{"choices":[{}]}', b'{"type":"ping"}', b'{"id":"c","object":"x"}'),
        b'{"choices":null,"usage":{"prompt_tokens":1}}',
        b'{"usage":{"prompt_tokens":1,"completion_tokens":2},"code":"x","type":"usage"}',
        b'{"choices":[{"index":null,"delta":null,"finish_reason":""}]}',
    ],
)
def test_chunks_without_content_are_skipped(nothing):
    reader = ChunkReader()
    assert reader.read(nothing) is None
    assert reader.read(chunk(choice({"content": "x"}, "stop"))) == ChunkDelta("x")
    assert reader.read(nothing) is None
    assert reader.end(done=True).finish_reason == "stop"


def test_a_lone_surrogate_is_joined_with_its_pair_or_replaced():
    high, low = r"\ud83d", r"\ude00"

    def read(*texts: str, reason: str = "null") -> str:
        reader = ChunkReader()
        joined = "".join(
            piece.text
            for text in texts
            if (piece := reader.read(b'{"choices":[{"delta":{"content":"%s"}}]}' % text.encode()))
        )
        reader.read(b'{"choices":[{"delta":{},"finish_reason":"stop"}]}')
        return joined + reader.end(done=True).rest

    assert read(f"a{high}", f"{low}b", "c") == "a\U0001f600bc"
    assert read(f"a{high}", "", f"{low}b") == "a\U0001f600b"
    assert read(f"a{high}", "b") == "a\ufffdb"
    assert read(f"a{low}b") == "a\ufffdb"
    assert read("a", high) == "a\ufffd"
    assert read(f"a{high}{low}") == "a\U0001f600"


def test_surrogates_in_reasoning_are_joined():
    reader = ChunkReader()
    joined = ""
    for text in (r"a\ud83d", r"\ude00b"):
        piece = reader.read(b'{"choices":[{"delta":{"reasoning":"%s"}}]}' % text.encode())
        joined += "".join(json.loads(bytes(raw))["delta"]["reasoning"] for raw in piece.choices)
    assert joined == "a\U0001f600b"


def test_nan_and_infinity_are_accepted():
    payload = b'{"choices":[{"index":0,"delta":{"content":"x"},"logprobs":{"p":-Infinity}}],"t":NaN}'
    piece = ChunkReader().read(payload)
    assert piece.text == "x"


@pytest.mark.parametrize(
    "top", [{"id": 5, "model": ["m"]}, {"id": {}, "model": None}, {"id": None, "model": 1.5}]
)
def test_an_id_or_model_of_another_type_is_ignored(top):
    reader = ChunkReader()
    assert reader.read(chunk(choice({"content": "x"}, "stop"), **top)) == ChunkDelta("x")
    assert (reader.response_id, reader.model) == (None, None)


def test_the_last_usage_counts_and_may_arrive_in_parts():
    reader = ChunkReader()
    for output in (1, 2, 3):
        reader.read(chunk(choice({"content": "x"}), usage={"prompt_tokens": 5, "completion_tokens": output}))
    assert counted(reader) == (5, 3)
    reader = ChunkReader()
    reader.read(chunk(usage={"prompt_tokens": 5, "completion_tokens": None}))
    reader.read(chunk(choice({}, "stop", usage={"completion_tokens": 7})))
    assert counted(reader) == (5, 7)


FINISHED = chunk(choice({"content": "x"}, "stop"))
UNFINISHED = chunk(choice({"content": "x"}))


@pytest.mark.parametrize(
    ("settings", "payloads", "done", "framed", "message_has"),
    [
        ({}, [FINISHED], False, False, None),
        ({}, [FINISHED], True, False, None),
        (
            {"done": "required"},
            [FINISHED],
            False,
            True,
            (
                "the stream ended without [DONE]; if this provider never sends it, "
                "set stream: {done: optional} for it in the catalogue"
            ),
        ),
        ({"done": "required"}, [FINISHED], True, False, None),
        ({}, [UNFINISHED], False, False, "no finish_reason was received for choice 0"),
        (
            {},
            [UNFINISHED],
            True,
            False,
            (
                "no finish_reason was received for choice 0; if this provider never sends one, "
                "set stream: {finish_reason: optional} for it in the catalogue"
            ),
        ),
        ({"finish_reason": "every"}, [FINISHED, FINISHED], True, False, None),
        ({"finish_reason": "every"}, [FINISHED, FINISHED], False, True, None),
        (
            {"finish_reason": "every"},
            [FINISHED, FINISHED],
            False,
            False,
            (
                "the stream ended without [DONE], and nothing else proves its end: finish_reason is 'every' "
                "in the catalogue, and the HTTP body has neither a length nor chunks"
            ),
        ),
        ({"finish_reason": "every", "done": "required"}, [FINISHED], False, True, "ended without [DONE]"),
        ({"finish_reason": "optional"}, [UNFINISHED], True, False, None),
        ({"finish_reason": "optional"}, [UNFINISHED], False, True, None),
        ({"finish_reason": "optional"}, [UNFINISHED], False, False, "nothing else proves its end"),
    ],
)
def test_d6_the_end_of_a_stream_is_proved_as_its_format_defines(
    settings, payloads, done, framed, message_has
):
    reader = ChunkReader(StreamFormat(**settings))
    for payload in payloads:
        assert reader.read(payload) == ChunkDelta("x")
    if message_has is None:
        assert reader.end(done, framed=framed).finish_reason in {"stop", None}
    else:
        with pytest.raises(BrokenStream) as caught:
            reader.end(done, framed=framed)
        assert message_has in str(caught.value)


def test_events_that_end_with_one_newline_name_the_setting():
    with pytest.raises(MalformedChunk) as caught:
        ChunkReader().read(UNFINISHED + b"\n" + FINISHED)
    assert str(caught.value).endswith(
        "; if this provider ends its events with one newline, "
        "set stream: {event_end: newline} for it in the catalogue"
    )
