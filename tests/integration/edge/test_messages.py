"""`/v1/messages` as Anthropic's SDK and coding agents use it: over plain HTTP, whole and streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from tests.harness.processes.system import System
from tests.harness.requests.edge_client import ReceivedEvent, open_stream, read_stream, request
from tests.harness.requests.replies import simulator_answer

QUESTION = "Why is the sky blue?"
HEADERS = {"anthropic-version": "2023-06-01", "anthropic-beta": "tools-2024-04-04", "x-api-key": "any"}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [{"name": "weather", "description": "The weather", "input_schema": CITY}]
USAGE = {"input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens"}
MESSAGE = {"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"}


@pytest.fixture
def messages(url: str) -> str:
    """The beta resources of the SDK add the query."""
    return f"{url}/v1/messages?beta=true"


@pytest.fixture(autouse=True)
async def normal_behaviour(system: System) -> AsyncIterator[None]:
    yield
    await system.sim("PUT", "speed", {"first_token_ms": 0, "latency_ms": 0})
    await system.sim("PUT", "behaviour", {"coder": ""})


def body_of(prompt: str = QUESTION, model: str = "coding", **fields: Any) -> dict[str, Any]:
    asked = [{"role": "user", "content": prompt}]
    return {"model": model, "max_tokens": 1000, "messages": asked, **fields}


def assert_is_a_stream_of_blocks(events: list[ReceivedEvent]) -> None:
    """The order of events that Anthropic documents; every event has its type as its name."""
    assert all(event.event == event.json["type"] for event in events)
    kinds = [event.event for event in events if event.event != "ping"]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    blocks = [event.json for event in events if event.event.startswith("content_block")]
    open_index, following = None, 0
    for block in blocks:
        if block["type"] == "content_block_start":
            assert open_index is None
            open_index = block["index"]
            assert open_index == following
        else:
            assert block["index"] == open_index
        if block["type"] == "content_block_stop":
            open_index, following = None, following + 1
    assert open_index is None
    assert following > 0


def deltas(events: list[ReceivedEvent], field: str) -> str:
    found = [event.json["delta"] for event in events if event.event == "content_block_delta"]
    return "".join(delta.get(field, "") for delta in found)


async def test_e1_a_whole_message_with_its_model_usage_and_headers(messages: str, system: System):
    answer = await request("POST", messages, body_of(), headers=HEADERS)
    assert answer.status == 200
    message = answer.json
    assert set(message) == MESSAGE
    text = await simulator_answer(system, "coder", QUESTION)
    assert message["content"] == [{"type": "text", "text": text}]
    assert (message["type"], message["role"], message["model"]) == ("message", "assistant", "coder")
    assert (message["stop_reason"], message["stop_sequence"]) == ("end_turn", None)
    assert message["id"].startswith("msg_")
    assert set(message["usage"]) >= USAGE
    assert message["usage"]["input_tokens"] > 0
    assert message["usage"]["output_tokens"] > 0
    assert answer.headers["request-id"] == answer.headers["x-penstock-request-id"]
    assert answer.headers["x-penstock-role"] == "coding"


async def test_k2_a_message_can_name_a_model(messages: str):
    answer = await request("POST", messages, body_of(model="other"), headers=HEADERS)
    assert (answer.status, answer.json["model"]) == (200, "other")


async def test_e1_a_streamed_message_is_a_sequence_of_blocks(messages: str, system: System):
    async with open_stream("POST", messages, body_of(stream=True), headers=HEADERS) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["request-id"]
        events = [event async for event in stream.events()]
    assert_is_a_stream_of_blocks(events)
    assert deltas(events, "text") == await simulator_answer(system, "coder", QUESTION)
    start, end = events[0].json["message"], events[-2].json
    assert (start["model"], start["content"], start["stop_reason"]) == ("coder", [], None)
    assert end["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert end["usage"]["output_tokens"] > 0


async def test_e1_tool_use_whole_streamed_and_answered(messages: str):
    asked = body_of(tools=TOOLS, tool_choice={"type": "any"})
    whole = (await request("POST", messages, asked, headers=HEADERS)).json
    (call,) = [block for block in whole["content"] if block["type"] == "tool_use"]
    assert whole["stop_reason"] == "tool_use"
    assert call["name"] == "weather"
    assert set(call["input"]) == {"city"}

    events = await read_stream("POST", messages, asked | {"stream": True}, headers=HEADERS)
    assert_is_a_stream_of_blocks(events)
    (start,) = [event.json["content_block"] for event in events if event.event == "content_block_start"]
    assert (start["type"], start["name"], start["input"]) == ("tool_use", "weather", {})
    assert msgspec.json.decode(deltas(events, "partial_json")) == call["input"]
    assert events[-2].json["delta"]["stop_reason"] == "tool_use"

    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "sunny"}
    conversation = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": whole["content"]},
        {"role": "user", "content": [result]},
    ]
    asked = body_of(tools=TOOLS, tool_choice={"type": "none"}) | {"messages": conversation}
    answer = await request("POST", messages, asked, headers=HEADERS)
    assert answer.json["content"][0]["text"]


async def test_e1_system_and_stop_sequences_reach_the_model(messages: str, system: System):
    system_blocks = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    body = body_of(system=system_blocks, stop_sequences=["END"], temperature=0.5)
    assert (await request("POST", messages, body, headers=HEADERS)).status == 200
    sent = await system.sim("GET", "last_request?model=coder")
    assert [message["content"] for message in sent["messages"]] == ["Be brief.", QUESTION]
    assert (sent["stop"], sent["temperature"], sent["max_tokens"]) == (["END"], 0.5, 1000)


async def test_e1_thinking_is_streamed_to_those_who_ask_for_it(messages: str):
    body = body_of(model="reasoning", stream=True)
    silent = await read_stream("POST", messages, body, headers=HEADERS)
    assert deltas(silent, "thinking") == ""
    asked = body | {"thinking": {"type": "adaptive"}}
    events = await read_stream("POST", messages, asked, headers=HEADERS)
    assert_is_a_stream_of_blocks(events)
    assert deltas(events, "thinking")
    assert deltas(events, "text") == deltas(silent, "text")


async def test_e1_tokens_are_counted_without_a_request_on_the_bus(url: str, system: System):
    await system.sim("POST", "reset")
    asked = body_of("word " * 1000)
    del asked["max_tokens"]
    path = f"{url}/v1/messages/count_tokens?beta=true"
    answer = await request("POST", path, asked, headers=HEADERS)
    assert answer.status == 200
    assert set(answer.json) == {"input_tokens"}
    assert 800 < answer.json["input_tokens"] < 1500
    assert (await system.sim("GET", "counts"))["models"] == {}
    wrong = await request("POST", path, {"model": "coding"}, headers=HEADERS)
    assert (wrong.status, wrong.error["type"]) == (400, "invalid_request_error")


async def test_e1_a_silent_stream_gets_a_ping_within_ten_seconds(messages: str, system: System):
    """Claude Code gives up after 15 s that bring nothing but comments."""
    await system.sim("PUT", "speed", {"first_token_ms": 12_000})
    async with open_stream("POST", messages, body_of(stream=True), headers=HEADERS) as stream:
        events = [event async for event in stream.events()]
    assert [(event.event, event.data, event.id) for event in events[:1]] == [("ping", '{"type":"ping"}', "")]
    assert_is_a_stream_of_blocks(events)
    assert [event.number for event in events[1:]] == list(range(len(events) - 1))
    times_s = [at_s for at_s, _ in stream.comments]
    assert all(later - earlier > 0.8 for earlier, later in pairwise(times_s))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("behaviour", "status", "kind"),
    [
        ("bad-request", 400, "invalid_request_error"),
        ("context-length", 400, "invalid_request_error"),
        ("503", 503, "overloaded_error"),
    ],
)
async def test_d10_a_failure_is_an_anthropic_error_with_its_status(
    messages: str, system: System, behaviour: str, status: int, kind: str, *, stream: bool
):
    await system.sim("PUT", "behaviour", {"coder": behaviour})
    answer = await request("POST", messages, body_of(stream=stream), headers=HEADERS)
    assert answer.status == status
    assert answer.json["type"] == "error"
    assert answer.error["type"] == kind
    assert answer.error["message"]
    assert answer.headers["request-id"]
    assert answer.error["message"].startswith("prompt is too long") == (behaviour == "context-length")


@pytest.mark.parametrize(
    ("method", "data", "status", "kind", "named"),
    [
        ("POST", b"{", 400, "invalid_request_error", "JSON"),
        ("POST", b'{"messages":[]}', 400, "invalid_request_error", "model"),
        (
            "POST",
            b'{"model":"coding","max_tokens":9,"messages":[]}',
            400,
            "invalid_request_error",
            "messages",
        ),
        ("GET", None, 405, "invalid_request_error", "POST"),
    ],
)
async def test_d10_errors_before_the_request_have_the_same_shape(
    messages: str, method: str, data: bytes | None, status: int, kind: str, named: str
):
    answer = await request(method, messages, data=data, headers=HEADERS)
    assert (answer.status, answer.json["type"], answer.error["type"]) == (status, "error", kind)
    assert named in answer.error["message"]


async def test_d10_an_unknown_model_is_a_not_found_error(messages: str):
    answer = await request("POST", messages, body_of(model="no_such_role"), headers=HEADERS)
    assert (answer.status, answer.error["type"]) == (404, "not_found_error")


async def test_d8_a_message_cannot_be_read_again_so_continue_is_a_400(messages: str):
    headers = {**HEADERS, "x-penstock-on-disconnect": "continue"}
    answer = await request("POST", messages, body_of(stream=True), headers=headers)
    assert answer.status == 400
    assert "x-penstock-on-disconnect" in answer.error["message"]
