"""E1: whatever pieces an answer comes in, a client of chat completions assembles the same one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from services.edge.dialects.chat import ChatDialect
from services.edge.dialects.dialect import AnswerError, ChatCall, InvalidField, SseEvent
from services.edge.http.sse import encode_event, event_id
from tests.harness.requests.reply_events import completed, delta, started

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
PIECES = st.lists(st.one_of(TEXT, st.text(st.sampled_from('{}[]"\\é\u2028 '), max_size=8)), max_size=8)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def streamed(texts: list[str], arguments: list[str]) -> list[SseEvent]:
    call = ChatCall(body=Raw(b"{}"), model="m", stream=True, include_usage=True)
    stream = ChatDialect().stream("chatcmpl-1", 1, call)
    events = stream.begin(started())
    for text in texts:
        events += stream.delta(delta(text))
    for piece in arguments:
        call_part = {"index": 0, "function": {"arguments": piece}}
        events += stream.delta(delta("", {"index": 0, "delta": {"tool_calls": [call_part]}}))
    return [*events, *stream.complete(completed(finish_reason="stop"))]


@given(PIECES, PIECES)
def test_e1_any_splitting_gives_the_same_text_and_tool_calls(texts: list[str], arguments: list[str]):
    *chunks, done = streamed(texts, arguments)
    assert done.data == b"[DONE]"
    text = calls = ""
    for chunk in (json.loads(event.data) for event in chunks):
        for choice in chunk["choices"]:
            text += choice["delta"].get("content") or ""
            for part in choice["delta"].get("tool_calls", ()):
                calls += part["function"]["arguments"]
    assert text == "".join(texts)
    assert calls == "".join(arguments)


@given(PIECES, PIECES)
def test_e2_every_event_stays_one_event_on_the_wire(texts: list[str], arguments: list[str]):
    """No line break of an answer ends the line of an event, whichever line breaks a reader knows."""
    events = streamed(texts, arguments)
    wire = b"".join(encode_event(event, event_id(number, 0)) for number, event in enumerate(events))
    lines = [line for line in wire.replace(b"\r", b"\n").split(b"\n") if line.startswith(b"data: ")]
    assert [line.removeprefix(b"data: ") for line in lines] == [event.data for event in events]


@given(st.dictionaries(TEXT, VALUE, max_size=5))
def test_e1_unknown_fields_pass_as_received(extra: dict[str, Any]):
    body = {**extra, "model": "m", "messages": [{"role": "user", "content": "hi"}]}
    for name in ("stream", "stream_options", "user", "safety_identifier"):
        body.pop(name, None)
    data = json.dumps(body).encode()
    assert bytes(ChatDialect().read(data).body) == data


@given(st.binary(max_size=200) | VALUE.map(lambda value: json.dumps(value).encode()))
def test_d10_any_body_is_read_or_refused_with_the_field(data: bytes):
    with pytest.raises(InvalidField) as invalid:  # no generated body has a model and messages
        ChatDialect().read(data)
    assert invalid.value.field
    error = AnswerError("invalid_request", invalid.value.message, 400)
    assert (
        json.loads(ChatDialect().error(error, invalid.value.field))["error"]["param"] == invalid.value.field
    )


@given(st.dictionaries(st.sampled_from(["id", "model", "choices", "usage", "x"]), VALUE, max_size=5))
def test_e1_a_whole_answer_keeps_every_other_field(response: dict[str, Any]):
    call = ChatCall(body=Raw(b"{}"), model="coding")
    data = json.dumps(response).encode()
    answer = json.loads(ChatDialect().whole("chatcmpl-1", 7, call, completed(response=Raw(data))))
    own = {"id": "chatcmpl-1", "object": "chat.completion", "created": 7, "model": "m"}
    assert {name: answer[name] for name in own} == own
    kept = {name: value for name, value in response.items() if name not in own and name != "usage"}
    assert {name: answer[name] for name in kept} == kept
    usage = response.get("usage")
    assert answer["usage"] == usage if isinstance(usage, dict) else "prompt_tokens" in answer["usage"]
