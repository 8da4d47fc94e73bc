"""K2: a Responses request becomes a chat-completions body; what cannot be translated is named."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from penstock.contract.request import ChatRequest
from services.edge.dialects.dialect import InvalidField
from services.edge.dialects.responses import ResponsesDialect
from services.router.routing.features import extract_features

HELLO = {"role": "user", "content": "Hello"}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "c1",
    "name": "f",
    "arguments": '{"x": 1}',
    "status": "completed",
}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "42"}
CHAT_CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
CHAT_RESULT = {"role": "tool", "tool_call_id": "c1", "content": "42"}
IMAGE = {"type": "input_image", "image_url": "https://x.test/a.png"}
TOOL = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
CHAT_TOOL = {"type": "function", "function": {name: value for name, value in TOOL.items() if name != "type"}}


def read(**fields: Any) -> Any:
    return ResponsesDialect().read(json.dumps({"model": "auto", "input": "Hello", **fields}).encode())


def chat(**fields: Any) -> dict[str, Any]:
    body = read(**fields).body
    extract_features(body)  # what the router demands of a body
    decoded = json.loads(bytes(body))
    assert isinstance(decoded, dict)
    return decoded


def messages(*items: Any, **fields: Any) -> Any:
    return chat(input=list(items), **fields)["messages"]


def user(*parts: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": list(parts)}]}


def allowed(*names: str, **fields: Any) -> dict[str, Any]:
    tools = [{"type": "function", "name": name} for name in names]
    return {
        "tools": [TOOL],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": tools, **fields},
    }


def refused(**fields: Any) -> InvalidField:
    with pytest.raises(InvalidField) as caught:
        read(**fields)
    return caught.value


def test_a_text_is_a_user_message():
    assert chat() == {"model": "auto", "messages": [HELLO]}


def test_instructions_are_the_first_message():
    assert messages(HELLO, instructions="Be short.") == [{"role": "system", "content": "Be short."}, HELLO]


@pytest.mark.parametrize("role", ["user", "system", "developer", "assistant"])
def test_messages_keep_their_role(role: str):
    item = {"role": role, "content": "x"}
    assert messages(item, {"type": "message", **item}) == [item, item]


def test_content_of_one_text_part_is_text():
    assert messages({"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}) == [HELLO]


def test_content_of_several_parts_is_a_list():
    content = [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": "https://x.test/a.png", "detail": "low"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
        {"type": "input_file", "file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"},
    ]
    assert messages({"role": "user", "content": content})[0]["content"] == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"}},
    ]


def test_answers_are_taken_without_id_and_status_and_with_them():
    """Codex leaves them out, and vLLM refuses that."""
    part = {"type": "output_text", "text": "Hi"}
    bare = {"type": "message", "role": "assistant", "content": [part]}
    full = {
        **bare,
        "id": "msg_1",
        "status": "completed",
        "content": [{**part, "annotations": [], "logprobs": []}],
    }
    assert messages(bare) == messages(full) == [{"role": "assistant", "content": "Hi"}]


def test_a_refusal_of_the_assistant_is_its_text():
    content = [{"type": "output_text", "text": "Well, "}, {"type": "refusal", "refusal": "no."}]
    assert messages({"role": "assistant", "content": content}) == [
        {"role": "assistant", "content": "Well, no."}
    ]


def test_text_and_calls_of_the_assistant_are_one_message():
    """Models take an answer that was split for a finished one, and end the work early."""
    answer = {"role": "assistant", "content": "Let me look."}
    other = {**CALL, "call_id": "c2"}
    items = [HELLO, {"type": "reasoning", "id": "rs_1", "summary": []}, answer, CALL, other]
    assert messages(*items, RESULT, {**RESULT, "call_id": "c2"}) == [
        HELLO,
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [CHAT_CALL, {**CHAT_CALL, "id": "c2"}],
        },
        CHAT_RESULT,
        {**CHAT_RESULT, "tool_call_id": "c2"},
    ]


def test_calls_in_turn_are_messages_of_their_own():
    again = {**CALL, "call_id": "c2"}
    assert [message["role"] for message in messages(CALL, RESULT, again, {**RESULT, "call_id": "c2"})] == [
        "assistant",
        "tool",
    ] * 2


def test_a_call_id_may_be_used_again_after_its_result():
    """Kimi numbers the calls of each turn from 0."""
    assert len(messages(CALL, RESULT, CALL, RESULT)) == 4


@pytest.mark.parametrize("text", ["Wait.", ""])
def test_text_after_a_call_joins_its_message(text: str):
    """Between a call and its result no other message may stand."""
    assert messages(CALL, {"role": "assistant", "content": text}, RESULT) == [
        {"role": "assistant", "content": text or None, "tool_calls": [CHAT_CALL]},
        CHAT_RESULT,
    ]


def test_text_on_both_sides_of_a_call_is_kept():
    first, second = ({"role": "assistant", "content": content} for content in ("A", "B"))
    assert messages(first, CALL, second, RESULT)[0]["content"] == "A\n\nB"


def test_a_result_follows_its_call():
    assert messages(CALL, HELLO, RESULT) == [
        {"role": "assistant", "content": None, "tool_calls": [CHAT_CALL]},
        CHAT_RESULT,
        HELLO,
    ]


def test_a_late_result_does_not_split_a_later_message():
    answer, other = {"role": "assistant", "content": "A"}, {**CALL, "call_id": "c2"}
    assert [
        message["role"]
        for message in messages(CALL, HELLO, answer, RESULT, other, {**RESULT, "call_id": "c2"})
    ] == [
        "assistant",
        "tool",
        "user",
        "assistant",
        "tool",
    ]


def test_results_may_be_lists_of_texts():
    parts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    assert messages(CALL, {**RESULT, "output": parts})[1]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
    ]
    assert messages(CALL, {**RESULT, "output": parts[:1]})[1]["content"] == "a"


def test_an_empty_message_of_the_assistant_is_left_out():
    assert messages(HELLO, {"role": "assistant", "content": []}) == [HELLO]


def test_function_tools_and_their_options():
    body = chat(tools=[TOOL], tool_choice="required", parallel_tool_calls=False)
    assert (body["tools"], body["tool_choice"], body["parallel_tool_calls"]) == (
        [CHAT_TOOL],
        "required",
        False,
    )
    assert chat(tools=[TOOL])["tools"] == [CHAT_TOOL]


def test_a_choice_of_one_function():
    choice = chat(tools=[TOOL], tool_choice={"type": "function", "name": "f"})["tool_choice"]
    assert choice == {"type": "function", "function": {"name": "f"}}


def test_only_allowed_tools_are_sent():
    body = chat(**{**allowed("g", mode="required"), "tools": [TOOL, {**TOOL, "name": "g"}]})
    assert [tool["function"]["name"] for tool in body["tools"]] == ["g"]
    assert body["tool_choice"] == "required"


def test_without_tools_their_options_are_not_sent():
    """Providers refuse them."""
    assert chat(tools=[], tool_choice="auto", parallel_tool_calls=True) == chat()


def test_numbers_of_schemas_pass_unchanged():
    tool = b'{"type":"function","name":"f","parameters":{"maximum":1.50e+3}}'
    body = b'{"model":"a","input":"x","top_p":0.10,"tools":[%b]}' % tool
    chat_body = bytes(ResponsesDialect().read(body).body)
    assert b'{"maximum":1.50e+3}' in chat_body
    assert b'"top_p":0.10' in chat_body


@pytest.mark.parametrize(
    ("text_format", "response_format"),
    [
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True},
            {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
            },
        ),
    ],
)
def test_text_formats(text_format: Any, response_format: Any):
    assert chat(text={"format": text_format, "verbosity": "low"}) == {
        **chat(),
        "response_format": response_format,
        "verbosity": "low",
    }


def test_plain_text_needs_no_format():
    assert chat(text={"format": {"type": "text"}}) == chat(text={}) == chat()


def test_options_of_the_answer():
    body = chat(
        reasoning={"effort": "high", "summary": "auto"},
        max_output_tokens=50,
        temperature=0.5,
        top_p=1,
        top_logprobs=3,
        prompt_cache_key="k",
        service_tier="flex",
        safety_identifier="s",
        user="u",
    )
    assert body == {
        **chat(),
        "reasoning_effort": "high",
        "max_completion_tokens": 50,
        "temperature": 0.5,
        "top_p": 1,
        "logprobs": True,
        "top_logprobs": 3,
        "prompt_cache_key": "k",
        "service_tier": "flex",
        "safety_identifier": "s",
        "user": "u",
    }


def test_log_probabilities_may_be_included():
    assert chat(include=["message.output_text.logprobs"])["logprobs"] is True


def test_fields_without_effect_are_accepted():
    assert (
        chat(
            store=True,
            metadata={"a": "b"},
            truncation="disabled",
            include=["reasoning.encrypted_content"],
            max_tool_calls=1,
            previous_response_id=None,
            client_metadata={"x": 1},
            stream_options={"include_obfuscation": False},
            background=False,
            stream=False,
        )
        == chat()
    )


def test_the_call_has_what_the_edge_needs():
    call = read(model="coding:hard", stream=True, background=True, user="u", safety_identifier="s")
    assert (call.model, call.stream, call.include_usage, call.background, call.user) == (
        "coding:hard",
        True,
        True,
        True,
        "s",
    )
    assert json.loads(bytes(call.body))["stream"] is True
    assert read(user="u").user == "u"
    assert ChatRequest(id="i", client="c", body=call.body).body == call.body


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"truncation": "auto"}, "truncation"),
        ({"context_management": []}, "context_management"),
        ({"response_format": {"type": "text"}}, "response_format"),
        ({"seed": 1}, "seed"),
        ({"tools": [TOOL, {"type": "web_search"}]}, "tools[1].type"),
        ({"tools": [{"type": "mcp", "server_label": "s"}]}, "tools[0].type"),
        ({"tools": [{"type": "custom", "name": "patch"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].name"),
        ({"tools": [{**TOOL, "parameters": "{}"}]}, "tools[0].parameters"),
        ({"tools": [7]}, "tools[0]"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": "f"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "g"}}, "tool_choice.name"),
        ({"tools": [TOOL], "tool_choice": {"type": "web_search"}}, "tool_choice.type"),
        (allowed("g"), "tool_choice.tools"),
        (allowed(), "tool_choice.tools"),
        (allowed("f", mode="x"), "tool_choice.mode"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"text": {"format": {}}}, "text.format.type"),
        ({"reasoning": {"effort": 3}}, "reasoning.effort"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
        ({"reasoning": {"context": "all_turns"}}, "reasoning.context"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": 1.5}, "max_output_tokens"),
        ({"max_output_tokens": 10**30}, "max_output_tokens"),
        ({"temperature": "0.5"}, "temperature"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"stream": "yes"}, "stream"),
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"input": [7]}, "input[0]"),
        ({"input": [{"content": "x"}]}, "input[0].type"),
        ({"input": [{"type": "message", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [HELLO, {"role": "user"}]}, "input[1].content"),
        (user(), "input[0].content"),
        (user("x"), "input[0].content[0]"),
        (user({"type": "text", "text": "x"}), "input[0].content[0].type"),
        (user({"type": "input_text"}), "input[0].content[0].text"),
        (user({"type": "input_text", "text": 7}), "input[0].content[0].text"),
        (user({"type": "input_image", "file_id": "f"}), "input[0].content[0].image_url"),
        (user({"type": "input_file", "file_id": "f"}), "input[0].content[0].file_data"),
        ({"input": [{"role": "system", "content": [IMAGE]}]}, "input[0].content[0].type"),
        (user({"type": "refusal", "refusal": "no"}), "input[0].content[0].type"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
        ({"input": [{"type": "web_search_call", "id": "ws_1", "action": {}}]}, "input[0].type"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f"}]}, "input[0].arguments"),
        (
            {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}]},
            "input[0].arguments",
        ),
        ({"input": [CALL]}, "input[0]"),
        ({"input": [CALL, CALL]}, "input[1].call_id"),
        ({"input": [HELLO, RESULT]}, "input[1].call_id"),
        ({"input": [CALL, {**RESULT, "output": [IMAGE]}]}, "input[1].output[0].type"),
    ],
)
def test_a_field_that_cannot_be_translated_is_named(fields: dict[str, Any], field: str):
    error = refused(**fields)
    assert error.field == field
    assert error.message.startswith(field)


def test_the_message_says_what_to_write_instead():
    assert (
        str(refused(max_tokens=5))
        == "max_tokens is not a field of a Responses request: write max_output_tokens"
    )
    assert str(refused(input=[{"role": "user", "content": 7}])) == (
        "input[0].content must be text or a list, not a number"
    )
    assert "send the whole conversation in input" in str(refused(previous_response_id="resp_1"))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"[]", "body"),
        (b'{"model":"a","input":"x"', "body"),
        (b'{"input":"x"}', "model"),
        (b'{"model":"a"}', "input"),
        (b'{"model":"a","input":"\xff"}', "body"),
        (b'{"model":"a","input":"\\ud800"}', "body"),
        (b'{"model":"a","input":"x","client_metadata":"\\udc00"}', "body"),
        (b'{"model":"a","input":"x","client_metadata":1e999}', "body"),
        (b'{"model":"a","input":"x","client_metadata":' + b"9" * 5_000 + b"}", "body"),
        (b'{"model":"a","input":"x","client_metadata":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "body"),
        (b'{"model":"a","input":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "body"),
        (b'{"model":"a","input":"x","temperature":NaN}', "body"),
    ],
)
def test_a_hostile_body_is_an_invalid_field(body: bytes, field: str):
    with pytest.raises(InvalidField) as caught:
        ResponsesDialect().read(body)
    assert caught.value.field == field


def test_a_translated_request_does_not_keep_the_body():
    """The images in it would stay in memory until the last event of the stream."""
    body = json.dumps(
        {"model": "auto", "input": "Hello" * 1_000, "instructions": "Be short.", "tools": [TOOL]}
    ).encode()
    before = sys.getrefcount(body)
    call = ResponsesDialect().read(body)
    assert set(call.repeated) == {"instructions", "tools"}
    assert sys.getrefcount(body) == before


def test_long_names_are_clipped_in_errors():
    error = refused(**{"x" * 10_000: 1})
    assert len(error.field) + len(error.message) < 200
    assert len(refused(input=[{"type": "x" * 10_000}]).message) < 200
