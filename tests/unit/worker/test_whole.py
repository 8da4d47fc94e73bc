from __future__ import annotations

import json

import pytest

from schemas.reply import Usage
from services.worker.calls.whole import MalformedReply, read_whole

CHOICE = {
    "index": 0,
    "message": {"role": "assistant", "content": "Hi", "refusal": None},
    "finish_reason": "stop",
}


def body(*choices: object, **top: object) -> bytes:
    return json.dumps(
        {"id": "c1", "object": "chat.completion", "model": "m", "choices": choices, **top}
    ).encode()


def test_a_complete_reply_is_read():
    reply = read_whole(body(CHOICE, usage={"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}))
    assert (reply.finish_reason, reply.model, reply.response_id) == ("stop", "m", "c1")
    assert reply.usage == Usage(input_tokens=3, output_tokens=1)


@pytest.mark.parametrize(
    "message", [{"content": None, "tool_calls": [{}]}, {"refusal": "no"}, {"content": [{}]}]
)
def test_a_reply_without_plain_text_is_complete_too__e1(message):
    reply = read_whole(body(CHOICE | {"message": message, "finish_reason": "tool_calls"}))
    assert reply.finish_reason == "tool_calls"


def test_the_finish_reason_is_that_of_choice_0_wherever_it_stands():
    other = CHOICE | {"index": 1, "finish_reason": "length"}
    reply = read_whole(body(other, CHOICE))
    assert (reply.finish_reason, reply.usage) == ("stop", None)


@pytest.mark.parametrize("usage", [{"prompt_tokens": 5.0}, {"completion_tokens": -1}, [], 7, "many"])
def test_unreadable_usage_does_not_discard_the_reply__d6(usage):
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
        body(CHOICE | {"finish_reason": "error"}),
        body(CHOICE, error={"message": "busy"}),
        body(CHOICE, note="N").replace(b"N", b"\xff"),
    ],
)
def test_what_is_not_complete_is_never_a_reply__d6(broken):
    with pytest.raises(MalformedReply):
        read_whole(broken)
