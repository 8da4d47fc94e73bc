"""K2: whole answers, token counts and errors in the shapes of Anthropic's API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from penstock.contract.reply import Usage
from services.edge.dialects.dialect import AnswerError, InvalidField
from services.edge.dialects.messages import count_tokens
from services.edge.dialects.messages_object import usage_object
from services.router.routing.features import extract_features
from tests.unit.edge.dialects.messages_client import DIALECT, PLAIN, chat, completed, read, whole


def function(call_id: str | None, name: str, arguments: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def input_of(arguments: Any) -> Any:
    (block,) = whole({"content": None, "tool_calls": [function("a", "get", arguments)]}, "length")["content"]
    return block["input"]


def test_a_text_answer():
    assert whole({"content": "Hello"}) == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m-answered",
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 40,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 60,
            "output_tokens": 7,
            "output_tokens_details": {"thinking_tokens": 3},
        },
    }


def test_thinking_precedes_text_and_tool_calls():
    message = whole(
        {"content": "Yes", "reasoning": "Hm", "tool_calls": [function("a", "get", '{"x": 1}')]}, "tool_calls"
    )
    assert [block["type"] for block in message["content"]] == ["thinking", "text", "tool_use"]
    assert message["content"][0]["thinking"] == "Hm"
    assert message["content"][0]["signature"]
    assert message["content"][2] == {"type": "tool_use", "id": "a", "name": "get", "input": {"x": 1}}
    assert message["stop_reason"] == "tool_use"


def test_thinking_that_was_not_asked_for_is_left_out():
    message = whole({"content": "Yes", "reasoning_content": "Hm"}, call=PLAIN)
    assert message["content"] == [{"type": "text", "text": "Yes"}]


@pytest.mark.parametrize("content", [None, "", []])
def test_an_answer_without_content_has_no_blocks(content: Any):
    assert whole({"content": content})["content"] == []


def test_more_cached_tokens_than_input_tokens_leave_none():
    """Some providers count the cached tokens apart."""
    usage = usage_object(Usage(input_tokens=5, cached_input_tokens=9))
    assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (0, 9)


def test_a_refusal_is_text_and_the_stop_reason():
    message = whole({"content": None, "refusal": "No."})
    assert (message["content"], message["stop_reason"]) == ([{"type": "text", "text": "No."}], "refusal")


def test_input_keeps_the_numbers_of_the_model():
    arguments = '{"x": 1.10, "y": 12345678901234567890123}'
    call = {"content": None, "tool_calls": [function("a", "get", arguments)]}
    assert arguments.encode() in DIALECT.whole("msg_1", 1, PLAIN, completed("tool_calls", call))


@pytest.mark.parametrize("arguments", ["", None, "{}", {}])
def test_no_arguments_are_an_empty_input(arguments: Any):
    assert input_of(arguments) == {}


@pytest.mark.parametrize(
    "arguments", ['{"x": "ab', "[1]", "null", "{} {}", '{"x": 01}', '{"x":' * 50_000 + "1" + "}" * 50_000]
)
def test_arguments_that_are_no_object_are_wrapped(arguments: str):
    assert input_of(arguments) == {"INVALID_JSON": arguments}


def test_a_missing_id_is_made_up_and_a_nameless_call_is_left_out():
    calls = [function(None, "get", "{}"), function("", "put", "{}"), function("a", "", "{}")]
    message = whole({"content": None, "tool_calls": calls})
    assert [block["name"] for block in message["content"]] == ["get", "put"]
    assert len({block["id"] for block in message["content"]}) == 2
    assert all(block["id"].startswith("toolu_") for block in message["content"])


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (408, "timeout_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (499, "invalid_request_error"),
        (500, "api_error"),
        (501, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_errors_have_anthropics_type_for_the_status(status: int, expected: str):
    assert json.loads(DIALECT.error(AnswerError("some_code", "It broke", status))) == {
        "type": "error",
        "error": {"type": expected, "message": "It broke", "details": {"error_code": "some_code"}},
    }


def test_an_error_names_the_field_once():
    for message in ("must be text", "tools[0].name: must be text"):
        body = json.loads(DIALECT.error(AnswerError("invalid_request", message, 400), "tools[0].name"))
        assert body["error"]["message"] == "tools[0].name: must be text"


def test_an_error_about_the_context_begins_as_claude_code_expects():
    body = json.loads(DIALECT.error(AnswerError("context_length_exceeded", "9 tokens, at most 8", 400)))
    assert body["error"]["message"] == "prompt is too long: 9 tokens, at most 8"


REQUEST: dict[str, Any] = {
    "model": "auto",
    "system": [{"type": "text", "text": "You are a lighthouse keeper. " * 20}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is on this picture? Что это? 何ですか?"},
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": "AAAA" * 999},
                },
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "a", "name": "look", "input": {"at": 1}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "a ship"}]},
    ],
    "tools": [{"name": "look", "description": "Look.", "input_schema": {"type": "object"}}],
    "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
}


def count(**fields: Any) -> int:
    answer = json.loads(count_tokens(json.dumps(REQUEST | fields).encode()))
    assert answer.keys() == {"input_tokens"}
    return answer["input_tokens"]


def test_tokens_are_counted_as_the_router_counts_them():
    call = read(**REQUEST)
    assert abs(count() - extract_features(call.body).estimated_tokens) <= 1


def test_system_tools_and_images_are_counted():
    messages = REQUEST["messages"]
    assert count() - count(system=None) > 100
    assert count() - count(tools=None) > 10
    assert count() - count(messages=messages[1:]) > 1_000


def test_tokens_of_a_conversation_that_ends_with_an_answer_are_counted():
    """Claude Code counts parts of conversations, and sends no `max_tokens`."""
    answered = [*REQUEST["messages"], {"role": "assistant", "content": "A ship." * 20}]
    assert count(messages=answered) > count() + 20


def test_a_wrong_request_is_not_counted():
    with pytest.raises(InvalidField, match="must contain a message"):
        count(messages=[])


def test_the_chat_body_is_what_a_router_accepts():
    assert extract_features(Raw(json.dumps(chat(**REQUEST)).encode())).images == 1
