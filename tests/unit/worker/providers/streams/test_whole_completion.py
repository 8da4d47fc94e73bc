from __future__ import annotations

import json

import pytest

from penstock.runtime.config.catalogue import StreamFormat
from services.worker.providers.errors.classify import failure_of_error_event
from services.worker.providers.errors.wire_errors import BrokenStream, MalformedReply, ProviderErrorEvent
from services.worker.providers.streams.whole_completion import read_whole
from services.worker.providers.usage import TokenCounts
from tests.unit.worker.providers.streams.chunk_samples import FAILURE_REASONS

CHOICE = {
    "index": 0,
    "message": {"role": "assistant", "content": "Hi", "refusal": None},
    "finish_reason": "stop",
}


def body(*choices: object, **top: object) -> bytes:
    return json.dumps(
        {"id": "c1", "object": "chat.completion", "model": "m", "choices": choices, **top}
    ).encode()


def test_a_complete_completion_is_read():
    reply = read_whole(body(CHOICE, usage={"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}))
    assert (reply.finish_reason, reply.model, reply.response_id) == ("stop", "m", "c1")
    assert reply.usage == TokenCounts(input_tokens=3, output_tokens=1, total_tokens=4)
    assert reply.message_bytes == len(json.dumps(CHOICE["message"]))


@pytest.mark.parametrize(
    "message", [{"content": None, "tool_calls": [{}]}, {"refusal": "no"}, {"content": [{}]}]
)
def test_e1_a_completion_without_text_is_complete(message):
    reply = read_whole(body(CHOICE | {"message": message, "finish_reason": "tool_calls"}))
    assert reply.finish_reason == "tool_calls"


def test_the_finish_reason_is_that_of_choice_0_at_any_position():
    other = CHOICE | {"index": 1, "finish_reason": "length"}
    reply = read_whole(body(other, CHOICE))
    assert (reply.finish_reason, reply.usage) == ("stop", None)


@pytest.mark.parametrize("usage", [{"prompt_tokens": "x"}, {"completion_tokens": -1}, [], 7, "many"])
def test_d6_invalid_usage_does_not_discard_the_completion(usage):
    assert read_whole(body(CHOICE, usage=usage)).usage is None


@pytest.mark.parametrize(
    "broken",
    [
        *(b"", b"{", b"{}", b"null", b"<html><body>502 Bad Gateway</body></html>", body()),
        body(CHOICE)[:-1],
        body(CHOICE | {"finish_reason": None}),
        body({"index": 0, "message": {}}),
        body({"index": 0, "finish_reason": "stop"}),
        body(CHOICE | {"message": None}),
        body(CHOICE, CHOICE | {"index": 1, "finish_reason": None}),
        body(CHOICE, note="N").replace(b"N", b"\xff"),
    ],
)
def test_d6_an_incomplete_body_is_an_error(broken):
    with pytest.raises(MalformedReply):
        read_whole(broken)


@pytest.mark.parametrize(("reason", "kind"), FAILURE_REASONS)
@pytest.mark.parametrize("message", [CHOICE["message"], {"content": None}, None])
def test_d6_a_completion_that_ends_with_a_failure_is_an_error(reason, kind, message):
    for broken in (
        body(CHOICE | {"message": message, "finish_reason": reason}),
        body(CHOICE, CHOICE | {"index": 1, "finish_reason": reason}),
        event({"content": "Hi"}) + event({}, reason) + b"data: [DONE]\n\n",
    ):
        with pytest.raises(ProviderErrorEvent, match=reason) as caught:
            read_whole(broken)
        assert failure_of_error_event(caught.value).kind == kind


@pytest.mark.parametrize(
    "error",
    [
        body(CHOICE, error={"message": "busy"}),
        body(CHOICE | {"error": {"message": "busy"}, "finish_reason": "error"}),
        b'{"error":"busy"}',
        b'{"error":{"code":429,"message":"busy"},"choices":null}',
        b'{"message":"busy","code":429}',
        b'{"choices":[],"message":"busy"}',
    ],
)
def test_an_error_in_the_place_of_a_completion_is_raised(error):
    with pytest.raises(ProviderErrorEvent, match="busy"):
        read_whole(error)


@pytest.mark.parametrize("error", [None, "", {}, [], False])
def test_an_empty_error_is_ignored(error):
    assert read_whole(body(CHOICE, error=error)).finish_reason == "stop"


@pytest.mark.parametrize("index", [None, "0", 0.0])
def test_unexpected_types_of_unimportant_fields_are_accepted(index):
    reply = read_whole(body(CHOICE | {"index": index}, id=5, model=None, x_groq=[]))
    assert (reply.finish_reason, reply.model, reply.response_id) == ("stop", None, None)


def test_json_that_is_not_strict_is_repaired():
    lenient = (
        body(CHOICE | {"p": 1}, note="N")
        .replace(b'"p": 1', b'"p": NaN')
        .replace(b"Hi", rb"a\ud83d b\ud83d\ude00")
    )
    repaired = json.loads(read_whole(lenient).body)
    assert repaired["choices"][0]["message"]["content"] == "a\ufffd b\U0001f600"
    assert (repaired["choices"][0]["p"], repaired["note"]) == (None, "N")
    for unchanged in (body(CHOICE), b"\xef\xbb\xbf" + body(CHOICE), b"\n " + body(CHOICE)):
        assert read_whole(unchanged).body.strip() == body(CHOICE)


def test_a_finish_reason_may_be_missing_if_the_catalogue_allows_it():
    unfinished = body({"index": 0, "message": {"content": "Hi"}})
    assert read_whole(unfinished, StreamFormat(finish_reason="optional")).finish_reason == "stop"
    with pytest.raises(MalformedReply, match="finish"):
        read_whole(unfinished)


def event(delta: object, finish_reason: str | None = None, index: int = 0, **top: object) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"id": "c1", "model": "m", "choices": [choice], **top}).encode() + b"\n\n"


def test_an_unrequested_stream_is_joined():
    def call(arguments: str, **first: object) -> dict[str, object]:
        return {"tool_calls": [{"index": 0, **first, "function": {"arguments": arguments, **first}}]}

    stream = (
        event({"role": "assistant", "content": "Hel"})
        + event({"content": "lo"})
        + event({"reasoning": "h"})
        + event({"reasoning": "m"})
        + event(call('{"a":', id="c"))
        + event(call("1}"))
        + event({"content": "other"}, "length", index=1)
        + event({}, "tool_calls", usage={"prompt_tokens": 3, "completion_tokens": 9})
    )
    reply = read_whole(stream + b"data: [DONE]\n\n")
    assert (reply.finish_reason, reply.model, reply.response_id) == ("tool_calls", "m", "c1")
    assert reply.usage is not None
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (3, 9)
    first, other = json.loads(reply.body)["choices"]
    assert (first["message"]["content"], first["message"]["reasoning"]) == ("Hello", "hm")
    [called] = first["message"]["tool_calls"]
    assert (called["id"], called["function"]) == ("c", {"id": "c", "arguments": '{"a":1}'})
    assert (other["message"]["content"], other["finish_reason"]) == ("other", "length")
    with pytest.raises(BrokenStream):
        read_whole(event({"content": "Hel"}) + b"data: [DONE]\n\n")
