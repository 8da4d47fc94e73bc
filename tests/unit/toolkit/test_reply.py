"""A whole reply out of its events."""

from __future__ import annotations

import pytest
from hypothesis import given
from msgspec import Raw
from msgspec.structs import replace

from penstock.errors import RequestFailed
from penstock.reply_builder import Reply, ReplyBuilder
from schemas.codec import REPLY, encode
from schemas.reply import Completed, ReplyEvent, Usage, first_seq
from tests.unit.toolkit.replies_model import (
    Sent,
    accepted,
    attempt_events,
    completed,
    failed,
    replies,
    started,
)


def build(events: list[ReplyEvent]) -> Reply | None:
    builder, reply = ReplyBuilder(), None
    for event in events:
        reply = builder.add(REPLY.decode(encode(event)))
    return reply


@given(sent=replies())
def test_the_text_is_that_of_the_attempt_that_answered_d6(sent: Sent):
    if isinstance(sent.events[-1], Completed):
        reply = build(sent.events)
        assert reply is not None
        assert (reply.text, reply.attempts) == (sent.text, sent.events[-1].attempt)
        assert reply.response is None
    else:
        with pytest.raises(RequestFailed):
            build(sent.events)


def test_the_reply_names_the_model_that_answered_and_why_d4_b5():
    end = replace(
        completed(2, first_seq(2) + 1), model="second", cost_microusd=7, usage=Usage(input_tokens=3)
    )
    reply = build(
        [replace(accepted(), why="because"), started(1, first_seq(1)), started(2, first_seq(2)), end]
    )
    assert reply is not None
    assert (reply.model, reply.why, reply.complexity) == ("second", "because", "simple")
    assert (reply.cost_microusd, reply.usage.input_tokens) == (7, 3)


def test_a_whole_answer_passes_through_with_its_tool_calls_e1():
    body = b'{"choices":[{"message":{"content":null,"tool_calls":[{"id":"t"}]}}],"id":"x"}'
    reply = build([accepted(), replace(completed(1, first_seq(1)), response=Raw(body))])
    assert reply is not None
    assert reply.text == ""
    assert reply.response is not None
    assert reply.response["choices"][0]["message"]["tool_calls"] == [{"id": "t"}]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"choices":[]}', ""),
        (b'{"choices":[{"message":{"content":"hi"}}]}', "hi"),
        (b'{"choices":[{"message":{"content":[]}}]}', ""),
        (
            (
                b'{"choices":[{"message":{"content":[{"type":"text","text":"hi "},{"type":"thinking","thinking":[]},'
                b'{"type":"text"},"?",{"type":"text","text":"there"}]}}]}'
            ),
            "hi there",
        ),
    ],
)
def test_the_text_of_a_whole_answer_is_its_first_choice(body: bytes, text: str):
    reply = build([replace(completed(1, first_seq(1)), response=Raw(body))])
    assert reply is not None
    assert (reply.text, reply.complexity, reply.why) == (text, None, "")


def test_a_failure_says_what_happened_whether_to_retry_and_when_d10():
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
