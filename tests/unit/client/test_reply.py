"""A whole reply is assembled from its events."""

from __future__ import annotations

from math import inf

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from penstock.client.reply import Reply, ReplyBuilder
from penstock.contract.codec import REPLY, encode
from penstock.contract.reply import Adapted, Completed, FailedAttempt, ReplyEvent, Usage, first_seq
from penstock.errors import RequestFailed
from tests.unit.client.replies_model import (
    Sent,
    accepted,
    attempt_events,
    completed,
    failed,
    replies,
    started,
)


def json_values() -> st.SearchStrategy[object]:
    keys = st.sampled_from(["choices", "message", "content", "type", "text", "index", "x"])
    plain = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "text", "hi"])
    return st.recursive(
        plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)
    )


def build(events: list[ReplyEvent]) -> Reply | None:
    builder, reply = ReplyBuilder(), None
    for event in events:
        reply = builder.add(REPLY.decode(encode(event)))
    return reply


@given(sent=replies())
def test_d6_the_text_is_that_of_the_answering_attempt(sent: Sent):
    if isinstance(sent.events[-1], Completed):
        reply = build(sent.events)
        assert reply is not None
        assert (reply.text, reply.attempts) == (sent.text, sent.events[-1].attempt)
        assert reply.response is None
    else:
        with pytest.raises(RequestFailed):
            build(sent.events)


def test_d4_b5_the_reply_names_the_model_and_the_reason():
    end = replace(
        completed(2, first_seq(2) + 1), model="second", cost_microusd=7, usage=Usage(input_tokens=3)
    )
    reply = build(
        [replace(accepted(), why="because"), started(1, first_seq(1)), started(2, first_seq(2)), end]
    )
    assert reply is not None
    assert (reply.model, reply.why, reply.complexity) == ("second", "because", "simple")
    assert (reply.cost_microusd, reply.usage.input_tokens) == (7, 3)


def test_e1_a_whole_answer_keeps_its_tool_calls():
    body = b'{"choices":[{"message":{"content":null,"tool_calls":[{"id":"t"}]}}],"id":"x"}'
    reply = build([accepted(), replace(completed(1, first_seq(1)), response=Raw(body))])
    assert reply is not None
    assert reply.text == ""
    assert reply.response is not None
    assert reply.response["choices"][0]["message"]["tool_calls"] == [{"id": "t"}]


def with_content(content: object) -> bytes:
    return msgspec.json.encode({"choices": [{"index": 0, "message": {"content": content}}]})


TEXT = {"type": "text", "text": "Hello"}
THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (with_content("hi"), "hi"),
        (with_content([]), ""),
        (with_content(None), ""),
        (with_content([THINKING, TEXT]), "Hello"),
        (with_content([TEXT, {"type": "text"}, {"type": "text", "text": None}, TEXT]), "HelloHello"),
        (with_content(["Hel", "lo"]), "Hello"),
        (with_content(["Hel", {"text": "lo"}, 7, None, ["x"]]), "Hello"),
        (with_content(TEXT), "Hello"),
        (with_content({"type": "image_url", "text": "no"}), ""),
        (with_content(7), ""),
        (b'{"choices":[]}', ""),
        (b'{"choices":null}', ""),
        (b'{"choices":{"0":1}}', ""),
        (b'{"choices":[null]}', ""),
        (b'{"choices":[{"finish_reason":"stop"}]}', ""),
        (b'{"choices":[{"message":null}]}', ""),
        (b'{"choices":[{"message":"hi"}]}', ""),
        (b'{"choices":[{"message":{}}]}', ""),
        (b"{}", ""),
        (b"[]", ""),
        (b'"hi"', ""),
        (
            b'{"choices":[{"index":1,"message":{"content":"b"}},{"index":0,"message":{"content":"a"}}]}',
            "a",
        ),
    ],
)
def test_e1_the_text_of_a_whole_answer_is_its_first_choice(body: bytes, text: str):
    reply = build([replace(completed(1, first_seq(1)), response=Raw(body))])
    assert reply is not None
    assert (reply.text, reply.complexity, reply.why) == (text, None, "")


@given(content=json_values())
def test_e1_the_text_of_an_answer_of_any_shape_is_a_string(content: object):
    for body in (content, {"choices": content}, {"choices": [content]}, {"choices": [{"message": content}]}):
        reply = build([replace(completed(1, first_seq(1)), response=Raw(msgspec.json.encode(body)))])
        assert reply is not None
        assert isinstance(reply.text, str)


def test_e1_estimates_and_adapted_parameters_come_from_the_end():
    adapted = (Adapted(parameter="max_tokens", change="renamed", sent="max_completion_tokens"),)
    reply = build([replace(completed(1, first_seq(1)), estimated=True, adapted=adapted)])
    assert reply is not None
    assert (reply.estimated, reply.adapted) == (True, adapted)


def test_d10_a_failure_has_the_error_of_the_provider():
    attempt = FailedAttempt(model="m", provider="p", kind="rejected", status=400, code="c", message="no")
    end = failed(1, first_seq(1), "provider_refused")
    failure = replace(end.error, provider_code="c", provider_message="no", attempts=(attempt,))
    with pytest.raises(RequestFailed) as caught:
        build([replace(end, error=failure)])
    error = caught.value
    assert (error.provider_code, error.provider_message, error.attempts) == ("c", "no", (attempt,))


def test_d10_a_failure_has_code_retry_and_time():
    with pytest.raises(RequestFailed, match="it broke") as caught:
        build(
            [accepted(), *attempt_events(1, 2, after_output=False), failed(1, first_seq(1) + 9, "overloaded")]
        )
    error = caught.value
    assert (error.code, error.retry, error.retry_after_s, error.http_status) == (
        "overloaded",
        "later",
        3.0,
        429,
    )


@pytest.mark.parametrize(
    ("number", "read"), [("1e999", inf), ("-1e999", -inf), ("9" * 5000, inf), ("9" * 30, 10**30 - 1)]
)
def test_d6_a_number_beyond_every_float_does_not_cost_the_answer(number: str, read: float):
    body = b'{"choices":[{"index":0,"message":{"content":"hi"}}],"score":%b,"count":2}' % number.encode()
    reply = build([replace(completed(1, first_seq(1)), response=Raw(body))])
    assert reply is not None
    assert reply.text == "hi"
    assert reply.response["score"] == read
    assert repr(reply.response["count"]) == "2"
