"""K2: a streamed answer in the events of Anthropic's API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.contract.errors import ERRORS, ErrorCode
from penstock.contract.reply import Failure
from services.edge.dialects.dialect import AnswerError
from services.edge.dialects.messages_stream import PING
from tests.unit.edge.dialects.messages_client import (
    PLAIN,
    THINKING,
    begun,
    choice,
    completed,
    events_of,
    message_of,
    read,
    streamed,
    text,
    tool,
)


def data(events: list[Any]) -> list[dict[str, Any]]:
    return [json.loads(event.data) for event in events]


def call_block(call_id: str, name: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def test_a_text_answer_has_these_events():
    events = events_of([text("Hel"), text("lo")])
    usage = {
        "input_tokens": 40,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 60,
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 3},
    }
    assert [event.event for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert data(events)[1:] == [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": usage,
        },
        {"type": "message_stop"},
    ]


def test_message_start_names_the_model_and_estimates_the_input():
    """Claude Code crashes without `usage`, and shows an empty context for 0 input tokens."""
    _, (event,) = begun(read(messages=[{"role": "user", "content": "word " * 400}]))
    message = json.loads(event.data)["message"]
    usage = message.pop("usage")
    assert message == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m-started",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }
    assert 300 < usage.pop("input_tokens") < 600
    assert usage == {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0}


def test_text_is_sent_with_the_delta_that_brings_it():
    writer, _ = begun()
    assert [event.event for event in writer.delta(text("a"))] == [
        "content_block_start",
        "content_block_delta",
    ]
    assert data(writer.delta(text("b")))[0]["delta"] == {"type": "text_delta", "text": "b"}


def test_arguments_are_sent_with_the_delta_that_brings_them():
    writer, _ = begun()
    (start,) = data(writer.delta(tool(id="call_1", name="get", arguments="")))
    assert start["content_block"] == {"type": "tool_use", "id": "call_1", "name": "get", "input": {}}
    (delta,) = data(writer.delta(tool(arguments='{"ci')))
    assert delta["delta"] == {"type": "input_json_delta", "partial_json": '{"ci'}


def test_a_later_tool_call_streams_when_the_one_before_is_complete():
    writer, _ = begun()
    writer.delta(tool(0, id="a", name="get", arguments="{}"))
    events = writer.delta(tool(1, id="b", name="get", arguments="{"))
    assert [event.event for event in events] == [
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
    ]


def test_reasoning_becomes_a_signed_thinking_block():
    """Claude Code discards the answer when a thinking block has no signature."""
    message = streamed([choice(reasoning_content="Hm"), choice(reasoning_content="m."), text("Yes")])
    thinking, answer = message["content"]
    assert thinking.pop("signature")
    assert thinking == {"type": "thinking", "thinking": "Hmm."}
    assert answer == {"type": "text", "text": "Yes"}


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning": "Hm"},
        {"reasoning": "Hm", "reasoning_content": "Hm"},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]},
    ],
)
def test_reasoning_is_read_in_the_shapes_of_providers(delta: dict[str, Any]):
    assert streamed([choice(**delta)])["content"][0]["thinking"] == "Hm"


def test_thinking_that_was_not_asked_for_is_left_out():
    """Applications that did not ask read `content[0].text`."""
    deltas = [text("a"), choice(reasoning_content="Hm"), text("b")]
    assert streamed(deltas, call=PLAIN)["content"] == [{"type": "text", "text": "ab"}]


def test_mixed_fragments_of_parallel_calls_are_sorted():
    message = streamed(
        [
            tool(0, id="a", name="get", arguments='{"x":'),
            tool(1, id="b", name="put", arguments='{"y":'),
            tool(0, arguments="1}"),
            tool(1, arguments="2}"),
        ],
        "tool_calls",
    )
    assert message["content"] == [call_block("a", "get", x=1), call_block("b", "put", y=2)]


@pytest.mark.parametrize("index", [None, 0])
def test_parallel_calls_with_one_index_are_told_apart_by_their_ids(index: int | None):
    """Gemini omits the index; some servers send 0 for each call."""
    message = streamed(
        [
            tool(index, id="a", name="get", arguments='{"x":1}'),
            tool(index, id="b", name="get", arguments='{"x":'),
            tool(index, arguments="2}"),
        ]
    )
    assert message["content"] == [call_block("a", "get", x=1), call_block("b", "get", x=2)]


def test_calls_without_index_and_id_are_told_apart_by_their_names():
    message = streamed([tool(None, name="get", arguments="{}"), tool(None, name="put", arguments="{}")])
    first, second = message["content"]
    assert (first["name"], second["name"]) == ("get", "put")
    assert first["id"] != second["id"]


@pytest.mark.parametrize("again", [{"id": "a", "name": "get"}, {"name": "get"}, {"id": "other"}])
def test_a_repeated_name_or_id_does_not_begin_another_call(again: dict[str, str]):
    message = streamed([tool(id="a", name="get", arguments='{"x":'), tool(**again, arguments="1}")])
    assert message["content"] == [call_block("a", "get", x=1)]


def test_a_call_without_arguments_has_an_empty_input():
    """Clients parse what the deltas add up to, which must be JSON."""
    events = data(events_of([tool(id="a", name="now", arguments="")]))
    assert {"type": "input_json_delta", "partial_json": "{}"} in [event.get("delta") for event in events]
    assert streamed([tool(id="a", name="now")])["content"] == [call_block("a", "now")]


def test_a_missing_id_is_made_up_alike_in_each_reading():
    deltas = [tool(0, name="get", arguments="{}"), tool(1, name="get", arguments="{}")]
    first, second = streamed(deltas)["content"]
    assert first["id"].startswith("toolu_")
    assert first["id"] != second["id"]
    assert streamed(deltas)["content"] == [first, second]


def test_an_id_that_follows_the_name_is_used():
    message = streamed([tool(name="get"), tool(id="a"), tool(arguments="{}")])
    assert message["content"] == [call_block("a", "get")]


def test_arguments_as_an_object_are_accepted():
    call = {"index": 0, "id": "a", "function": {"name": "get", "arguments": {"x": 1}}}
    assert streamed([choice(tool_calls=[call])])["content"] == [call_block("a", "get", x=1)]


def test_text_after_an_incomplete_call_waits_for_it():
    message = streamed([tool(id="a", name="get", arguments="{"), text("\n"), tool(arguments="}")])
    assert message["content"] == [call_block("a", "get"), {"type": "text", "text": "\n"}]


def test_an_answer_without_content_has_no_blocks():
    message = streamed([choice(role="assistant", content="", reasoning_content="", tool_calls=None)])
    assert message["content"] == []
    assert message["stop_reason"] == "end_turn"


def test_only_the_first_choice_is_read():
    assert streamed([text("a"), choice(1, content="b", tool_calls=[])])["content"] == [
        {"type": "text", "text": "a"}
    ]


@pytest.mark.parametrize(
    ("finish_reason", "expected"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("MAX_TOKENS", "max_tokens"),
        ("content_filter", "refusal"),
        ("SAFETY", "refusal"),
        ("content-filter", "refusal"),
        ("unheard_of", "end_turn"),
        ("model_length", "model_context_window_exceeded"),
        ("tool_calls", "end_turn"),
        ("eos", "end_turn"),
    ],
)
def test_the_stop_reason_of_a_text(finish_reason: str, expected: str):
    """`tool_use` without a call would make an agent wait."""
    assert streamed([text("a")], finish_reason)["stop_reason"] == expected


@pytest.mark.parametrize("finish_reason", ["tool_calls", "stop", "function_call"])
def test_the_stop_reason_of_tool_calls(finish_reason: str):
    """Some providers end tool calls with `stop`; an agent would not run the tools."""
    assert streamed([tool(id="a", name="get")], finish_reason)["stop_reason"] == "tool_use"


def test_a_call_without_a_name_is_no_call():
    message = streamed([text("a"), tool(id="a", arguments="{}")], "tool_calls")
    assert message["content"] == [{"type": "text", "text": "a"}]
    assert message["stop_reason"] == "end_turn"


def test_a_refusal_is_text_and_the_stop_reason():
    message = streamed([choice(refusal="I can"), choice(refusal="not.")])
    assert message["content"] == [{"type": "text", "text": "I cannot."}]
    assert message["stop_reason"] == "refusal"


def test_truncated_arguments_end_with_max_tokens():
    events = events_of([tool(id="a", name="get", arguments='{"x":"ab')], "length")
    assert data(events)[-2]["delta"]["stop_reason"] == "max_tokens"
    assert events[-3].event == "content_block_stop"


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_a_failure_is_an_error_event_and_no_end(code: ErrorCode):
    writer, events = begun()
    events += writer.delta(text("Hel"))
    (event,) = writer.fail(AnswerError.of(Failure(code=code, message="It broke", retry="later")))
    assert event.event == "error"
    body = json.loads(event.data)
    assert body["type"] == "error"
    assert body["error"]["type"].endswith(("_error", "request_too_large"))
    assert body["error"]["message"].endswith("It broke")
    assert "message_stop" not in {each.event for each in events}


def test_the_same_reply_gives_the_same_events():
    deltas = [choice(reasoning="Hm"), text("a"), tool(name="get", arguments="{}"), text("b")]
    assert events_of(deltas) == events_of(deltas)


def test_a_ping_is_an_event_that_clients_ignore():
    assert (PING.event, json.loads(PING.data)) == ("ping", {"type": "ping"})


def test_the_end_comes_after_everything_that_waited():
    writer, events = begun(THINKING)
    events += writer.delta(tool(0, id="a", name="get", arguments="{"))
    events += writer.delta(tool(1, id="b", name="get", arguments="{}"))
    events += writer.delta(text("!"))
    events += writer.complete(completed("stop"))
    with pytest.raises(json.JSONDecodeError):  # the first call is incomplete, and nothing else is lost for it
        message_of(events)
    starts = [each["content_block"]["type"] for each in data(events) if each["type"] == "content_block_start"]
    assert starts == ["tool_use", "tool_use", "text"]
