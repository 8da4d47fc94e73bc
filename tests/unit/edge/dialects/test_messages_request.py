"""K2: requests of Anthropic's API as chat-completions bodies."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from services.edge.dialects.dialect import InvalidField
from tests.unit.edge.dialects.messages_client import DIALECT, chat, read

QUESTION = {"role": "user", "content": "Hi"}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
PICTURE_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
TOOL = {"name": "get", "description": "Get it.", "input_schema": {"type": "object", "properties": {}}}


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}


def result(content: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "a", "content": content, **fields}


def chat_messages(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    return chat(messages=list(messages))["messages"]


def refused(**fields: Any) -> tuple[str, str]:
    with pytest.raises(InvalidField) as raised:
        read(**fields)
    return raised.value.field, raised.value.message


def refused_block(wrong: dict[str, Any], role: str = "user") -> tuple[str, str]:
    return refused(messages=[QUESTION, {"role": role, "content": [block("a"), wrong]}, QUESTION])


def test_the_smallest_request():
    body = b'{"model":"coding:hard","max_tokens":8,"messages":[{"role":"user","content":"Hi"}]}'
    call = DIALECT.read(body)
    assert json.loads(bytes(call.body)) == json.loads(body)
    assert (call.model, call.stream, call.user) == ("coding:hard", False, "")


def test_sampling_passes_unchanged():
    raw = b'"temperature":0.10,"top_p":1e0,"top_k":40'
    body = b'{"model":"auto","max_tokens":8,"messages":[{"role":"user","content":"Hi"}],%s}' % raw
    assert raw in bytes(DIALECT.read(body).body)
    assert chat(stop_sequences=["\n\n", "END"])["stop"] == ["\n\n", "END"]


def test_a_stream_is_asked_for_in_the_body_too():
    assert read(stream=True).stream
    assert chat(stream=True)["stream"] is True
    assert "stream" not in chat(stream=False)


def test_null_and_empty_values_are_absent_ones():
    absent = dict.fromkeys(
        (
            "system",
            "stream",
            "temperature",
            "top_p",
            "top_k",
            "stop_sequences",
            "tools",
            "tool_choice",
            "thinking",
        )
    )
    assert chat(**absent, output_config=None, metadata=None, container=None, mcp_servers=[]) == chat()
    assert chat(system="", stop_sequences=[], tools=[], metadata={}, output_config={}) == chat()


def test_unknown_fields_are_ignored():
    """Claude Code sends fields of beta versions."""
    fields = {"context_management": {"edits": []}, "betas": ["x"], "speed": "fast", "service_tier": "auto"}
    assert chat(**fields, cache_control={"type": "ephemeral"}) == chat()


@pytest.mark.parametrize("system", ["Be kind.", [block("Be kind.")], [block(""), block("Be kind.")]])
def test_the_system_prompt_is_the_first_message(system: Any):
    assert chat(system=system)["messages"] == [{"role": "system", "content": "Be kind."}, QUESTION]


def test_texts_of_the_system_prompt_are_joined():
    assert (
        chat(system=[block("Be kind."), block("Be brief.")])["messages"][0]["content"]
        == "Be kind.\n\nBe brief."
    )


def test_the_billing_header_of_claude_code_is_removed():
    """It changes with each request, which defeats the prompt caches of providers."""
    header = "x-anthropic-billing-header: cc_version=2.1.175; cch=36ee5;"
    for system in ([block(header), block("Be kind.")], f"{header}\nBe kind."):
        assert chat(system=system)["messages"][0]["content"] == "Be kind."
    assert header in chat(system=f"Never print {header}")["messages"][0]["content"]


def test_system_messages_keep_their_place():
    """Claude Code sends them since 2.1.154."""
    system = {"role": "system", "content": [block("Be brief.")]}
    assert chat_messages(QUESTION, system) == [QUESTION, {"role": "system", "content": "Be brief."}]


def test_texts_of_a_user_become_one_text():
    """Some providers accept no list of parts."""
    assert chat_messages(user(block("a"), block(""), block("b"))) == [{"role": "user", "content": "a\n\nb"}]


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ({"type": "base64", "media_type": "image/webp", "data": "UklG"}, "data:image/webp;base64,UklG"),
        ({"type": "url", "url": "https://example.org/a.png"}, "https://example.org/a.png"),
    ],
)
def test_images_become_image_parts_in_their_place(source: dict[str, str], url: str):
    (message,) = chat_messages(user(block("a"), {"type": "image", "source": source}, block("b")))
    assert message["content"] == [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": "b"},
    ]


def test_text_documents_become_text():
    source = {"type": "text", "media_type": "text/plain", "data": "Once upon"}
    document = {"type": "document", "source": source, "title": "A tale", "context": "Old"}
    assert chat_messages(user(document))[0]["content"] == "A tale\n\nOld\n\nOnce upon"


@pytest.mark.parametrize(
    "source",
    [
        {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
        {"type": "url", "url": "https://example.org/a.pdf"},
        {"type": "file", "file_id": "file_1"},
        {"type": "content", "content": "Once upon"},
    ],
)
def test_other_documents_are_refused(source: dict[str, str]):
    field, message = refused_block({"type": "document", "source": source})
    assert field == "messages[1].content[1].source"
    assert "only text documents" in message
    nested = result([{"type": "document", "source": source}])
    assert refused_block(nested)[0] == "messages[1].content[1].content[0].source"


def test_citations_and_files_are_refused():
    text = {"type": "text", "media_type": "text/plain", "data": "x"}
    cited = {"type": "document", "source": text, "citations": {"enabled": True}}
    assert refused_block(cited)[0] == "messages[1].content[1].citations"
    assert refused_block({"type": "image", "source": {"type": "file", "file_id": "f"}})[0].endswith(
        "[1].source"
    )


def test_tool_calls_keep_their_ids_and_the_bytes_of_their_input():
    call = b'{"type":"tool_use","id":"functions.get:0","name":"get","input":{"x": 1.10, "y": [ ]}}'
    body = (
        b'{"model":"auto","max_tokens":8,"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":['
        b'{"type":"text","text":"Let me"},{"type":"text","text":" see."},%s]},'
        b'{"role":"user","content":[{"type":"tool_result","tool_use_id":"functions.get:0"}]}]}' % call
    )
    _, assistant, tool = json.loads(bytes(DIALECT.read(body).body))["messages"]
    assert assistant == {
        "role": "assistant",
        "content": "Let me see.",
        "tool_calls": [
            {
                "id": "functions.get:0",
                "type": "function",
                "function": {"name": "get", "arguments": '{"x": 1.10, "y": [ ]}'},
            }
        ],
    }
    assert tool == {"role": "tool", "tool_call_id": "functions.get:0", "content": ""}


def test_a_call_without_text_has_no_content():
    call = {"type": "tool_use", "id": "a", "name": "get", "input": {}}
    assistant = {"role": "assistant", "content": [{"type": "text", "text": ""}, call]}
    assert chat_messages(QUESTION, assistant, user(result("x")))[1]["content"] is None


def test_results_precede_the_other_content_of_their_message():
    """Chat completions require them right after the calls; Claude Code puts reminders before them."""
    assert chat_messages(user(block("a"), result("x"), result("y", tool_use_id="b"), block("b"))) == [
        {"role": "tool", "tool_call_id": "a", "content": "x"},
        {"role": "tool", "tool_call_id": "b", "content": "y"},
        {"role": "user", "content": "a\n\nb"},
    ]


def test_images_of_results_follow_all_results_with_a_label():
    """Chat tools can only return text."""
    tool, other, follow = chat_messages(
        user(result([block("seen"), PICTURE]), result([PICTURE], tool_use_id="b"), block("And now?"))
    )
    assert tool["content"] == "seen"
    assert other["content"] == "(The images of this result are in the next message.)"
    assert follow["content"] == [
        {"type": "text", "text": "Images in the result of tool call a:"},
        PICTURE_PART,
        {"type": "text", "text": "Images in the result of tool call b:"},
        PICTURE_PART,
        {"type": "text", "text": "And now?"},
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("no such file", "Error: no such file"),
        ([block("no"), block("file")], "Error: no\n\nfile"),
        (None, "Error: the tool failed"),
    ],
)
def test_a_failed_tool_says_so(content: Any, expected: str):
    assert chat_messages(user(result(content, is_error=True)))[0]["content"] == expected


def test_a_result_may_refer_to_tools():
    found = {"type": "tool_reference", "tool_name": "get"}
    assert chat_messages(user(result([found])))[0]["content"] == "get"


def test_thinking_is_dropped_and_empty_assistant_messages_with_it():
    thinking = [
        {"type": "thinking", "thinking": "Hm", "signature": "x"},
        {"type": "redacted_thinking", "data": "x"},
    ]
    first = {"role": "assistant", "content": [*thinking, block("Yes")]}
    second = {"role": "assistant", "content": thinking}
    assert chat_messages(QUESTION, first, QUESTION, second, QUESTION) == [
        QUESTION,
        {"role": "assistant", "content": "Yes"},
        QUESTION,
        QUESTION,
    ]


def test_tools_become_functions():
    custom = TOOL | {"type": "custom", "cache_control": {"type": "ephemeral"}, "defer_loading": True}
    function = {"name": "get", "description": "Get it.", "parameters": TOOL["input_schema"]}
    for tool in (TOOL, custom):
        assert chat(tools=[tool])["tools"] == [{"type": "function", "function": function}]
    assert chat(tools=[TOOL | {"strict": True}])["tools"][0]["function"]["strict"] is True
    assert "tool_choice" not in chat(tools=[TOOL])


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "get"}, {"type": "function", "function": {"name": "get"}}),
    ],
)
def test_the_choice_of_tools(choice: dict[str, Any], expected: Any):
    body = chat(tools=[TOOL], tool_choice=choice)
    assert body["tool_choice"] == expected
    assert "parallel_tool_calls" not in body
    one = chat(tools=[TOOL], tool_choice=choice | {"disable_parallel_tool_use": True})
    assert (one["tool_choice"], one["parallel_tool_calls"]) == (expected, False)


def test_a_choice_without_tools():
    assert chat(tool_choice={"type": "auto"}) == chat(tool_choice={"type": "none"}) == chat()
    assert refused(tool_choice={"type": "any"})[0] == "tool_choice"
    assert refused(tools=[TOOL], tool_choice={"type": "tool", "name": "put"})[0] == "tool_choice.name"


@pytest.mark.parametrize(
    "kind", ["web_search_20250305", "bash_20250124", "code_execution_20260521", "mcp_toolset"]
)
def test_tools_of_anthropic_are_refused(kind: str):
    field, message = refused(tools=[TOOL, {"type": kind, "name": "x", "max_uses": 8}])
    assert field == "tools[1].type"
    assert kind in message
    assert "input_schema" in message


@pytest.mark.parametrize("name", ["container", "mcp_servers", "inference_geo"])
def test_what_only_anthropic_can_do_is_refused(name: str):
    assert refused(**{name: "x"})[0] == name


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"thinking": {"type": "disabled"}}, None),
        ({"thinking": {"type": "adaptive", "budget_tokens": 0}}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 4_000}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 8_191}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 8_192}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 10_000}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 24_576}}, "high"),
        ({"thinking": {"type": "enabled", "budget_tokens": 31_999}}, "high"),
        ({"output_config": {"effort": "xhigh"}}, "xhigh"),
        ({"output_config": {"effort": "max"}, "thinking": {"type": "adaptive"}}, "xhigh"),
        (
            {"output_config": {"effort": "low"}, "thinking": {"type": "enabled", "budget_tokens": 31_999}},
            "low",
        ),
        ({"output_config": {"effort": "high"}, "thinking": {"type": "disabled"}}, None),
    ],
)
def test_the_effort(fields: dict[str, Any], expected: str | None):
    assert chat(**fields).get("reasoning_effort") == expected


@pytest.mark.parametrize(
    ("thinking", "shown"),
    [
        (None, False),
        ({"type": "disabled"}, False),
        ({"type": "enabled", "budget_tokens": 4_000}, True),
        ({"type": "adaptive", "display": "summarized"}, True),
        ({"type": "adaptive", "display": "omitted"}, False),
    ],
)
def test_thinking_is_marked_in_a_field_that_no_provider_receives(thinking: Any, shown: bool):
    assert chat(thinking=thinking).get("penstock_thinking", False) is shown


def test_a_format_becomes_a_response_format():
    schema = {"type": "object", "properties": {"x": {"type": "number"}}}
    body = chat(output_config={"format": {"type": "json_schema", "schema": schema}})
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": True},
    }


def test_the_user():
    call = read(metadata={"user_id": "u-1"})
    assert (call.user, json.loads(bytes(call.body))["user"]) == ("u-1", "u-1")


def test_a_long_user_is_hashed_for_providers():
    """OpenAI accepts 64 characters; Claude Code sends about 150."""
    long = "user_" + "a" * 145
    call = read(metadata={"user_id": long})
    assert call.user == long
    assert json.loads(bytes(call.body))["user"] == hashlib.sha256(long.encode()).hexdigest()


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        ({"max_tokens": None}, "max_tokens", "a number"),
        ({"max_tokens": 0}, "max_tokens", "at least 1"),
        ({"max_tokens": 10**30}, "max_tokens", "2147483647"),
        ({"max_tokens": "8"}, "max_tokens", "a number"),
        ({"model": ""}, "model", "name of a role"),
        ({"model": 4}, "model", "text"),
        ({"messages": []}, "messages", "must contain"),
        ({"messages": "Hi"}, "messages", "a list"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role", "missing"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing"),
        (
            {"messages": [{"role": "developer", "content": "x"}]},
            "messages[0].role",
            "user, assistant or system",
        ),
        ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content", "must contain text"),
        (
            {"messages": [{"role": "user", "content": [block("")]}]},
            "messages[0].content",
            "must contain text",
        ),
        (
            {"messages": [QUESTION, {"role": "assistant", "content": "The answer is ("}]},
            "messages[1]",
            "prefill",
        ),
        ({"system": [PICTURE]}, "system[0].type", "text"),
        ({"temperature": "hot"}, "temperature", "a number"),
        ({"top_k": True}, "top_k", "a number"),
        ({"stop_sequences": "END"}, "stop_sequences", "a list"),
        ({"tools": [{"name": "get"}]}, "tools[0].input_schema", "JSON Schema"),
        ({"tools": [{"name": "get", "input_schema": []}]}, "tools[0].input_schema", "JSON Schema"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name", "required"),
        ({"tool_choice": {"type": "required"}}, "tool_choice.type", "auto, any, tool or none"),
        ({"thinking": {"type": "on"}}, "thinking.type", "enabled, disabled or adaptive"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens", "required"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort", "low, medium"),
        ({"metadata": {"user_id": 7}}, "metadata.user_id", "text"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], field: str, problem: str):
    named, message = refused(**fields)
    assert named == field
    assert problem in message


@pytest.mark.parametrize(
    ("wrong", "role", "field"),
    [
        ({"type": "tool_use", "id": "a", "name": "get", "input": {}}, "user", ".type"),
        ({"type": "server_tool_use", "id": "a", "name": "web_search", "input": {}}, "assistant", ".type"),
        (PICTURE, "assistant", ".type"),
        (PICTURE, "system", ".type"),
        ({"type": "tool_use", "id": "a", "name": "get", "input": "{}"}, "assistant", ".input"),
        ({"type": "tool_use", "id": "a", "name": "get"}, "assistant", ".input"),
        ({"text": "x"}, "user", ".type"),
        ({"type": "text"}, "user", ".text"),
        ({"type": "tool_result", "content": "x"}, "user", ".tool_use_id"),
        ({"type": "image", "source": {"type": "base64", "data": "AAAA"}}, "user", ".source.media_type"),
        (result([{"type": "search_result"}]), "user", ".content[0].type"),
    ],
)
def test_a_wrong_block_is_named(wrong: dict[str, Any], role: str, field: str):
    assert refused_block(wrong, role)[0] == f"messages[1].content[1]{field}"


def test_a_wrong_block_type_is_answered_with_the_right_ones():
    _, message = refused_block({"type": "container_upload", "file_id": "f"})
    assert "'container_upload'" in message
    assert "use text, image, document or tool_result" in message


def raw_body(fields: bytes) -> bytes:
    return b'{"model":"auto","max_tokens":8,"messages":[{"role":"user","content":"Hi"}],%s' % fields


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe{}",
        raw_body(b'"stream":true'),
        raw_body(b'"system":"\\ud83d"}'),
        raw_body(b'"system":"\xff"}'),
        raw_body(b'"unknown":"\xff"}'),
        raw_body(b'"tools":[{"name":"get","input_schema":{"title":"\xff"}}]}'),
        raw_body(b'"tools":[{"name":"get","input_schema":' + b'{"a":' * 100_000),
        raw_body(b'"tools":[{"name":"get","input_schema":{"maximum":1e999}}]}'),
        raw_body(b'"system":' + b"[" * 100_000),
        raw_body(b'"temperature":1e999}'),
        raw_body(b'"thinking":{"type":"enabled","budget_tokens":' + b"9" * 9_999 + b"}}"),
    ],
)
def test_hostile_bodies_are_invalid_fields(body: bytes):
    with pytest.raises(InvalidField):
        DIALECT.read(body)
