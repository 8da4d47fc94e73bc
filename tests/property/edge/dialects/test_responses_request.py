"""K2: the conversation of a Responses request is that of its chat; any body is translated or refused by its field."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.edge.dialects.dialect import InvalidField
from services.edge.dialects.responses import ResponsesDialect
from services.edge.dialects.responses_request import ResponsesCall, ResponsesRequest
from services.router.routing.features import extract_features
from tests.harness.suite.examples import examples
from tests.unit.edge.dialects.responses_answers import CREATED_S, ID, completed, strict_response

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=10)
KEYS = re.findall(
    r"\w+",
    "type role content text image_url call_id name arguments output format schema effort mode parameters strict "
    "refusal file_data tools",
)
WORDS = re.findall(
    r"\w+",
    "message user assistant function_call function_call_output reasoning input_text output_text input_image function "
    "json_schema text allowed_tools auto required c1 f",
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=20,
)


def translated(body: bytes) -> ResponsesCall | InvalidField:
    """Whatever is translated is a body for the router."""
    try:
        call = ResponsesDialect().read(body)
    except InvalidField as error:
        return error
    extract_features(call.body)
    return call


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Messages of a chat in which each call has its result."""
    messages: list[dict[str, Any]] = []
    for turn in range(draw(st.integers(1, 4))):
        messages.append(
            {"role": draw(st.sampled_from(["user", "developer", "system"])), "content": draw(TEXT)}
        )
        count = draw(st.integers(0, 3))
        content = draw(TEXT if count == 0 else st.none() | TEXT)
        ids = [f"c{turn}_{number}" for number in range(count)]
        calls = [
            {"id": each, "type": "function", "function": {"name": draw(TEXT), "arguments": draw(TEXT)}}
            for each in ids
        ]
        messages.append({"role": "assistant", "content": content} | ({"tool_calls": calls} if calls else {}))
        messages += [{"role": "tool", "tool_call_id": each, "content": draw(TEXT)} for each in ids]
    return messages


def items_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    if message["role"] == "tool":
        return [
            {"type": "function_call_output", "call_id": message["tool_call_id"], "output": message["content"]}
        ]
    kind = "output_text" if message["role"] == "assistant" else "input_text"
    content = [{"type": kind, "text": message["content"]}]
    items = [{"type": "message", "role": message["role"], "content": content}] if message["content"] else []
    calls = [
        {"type": "function_call", "call_id": call["id"], **call["function"]}
        for call in message.get("tool_calls", ())
    ]
    return items + calls


def chat_messages(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    call = ResponsesDialect().read(json.dumps({"model": "auto", "input": items}).encode())
    messages = json.loads(bytes(call.body))["messages"]
    assert isinstance(messages, list)
    return messages


@given(conversations())
def test_a_conversation_survives_the_translation(messages: list[dict[str, Any]]) -> None:
    assert chat_messages([item for message in messages for item in items_of(message)]) == messages


@given(st.data())
def test_results_follow_their_calls_whatever_the_order_of_items(data: st.DataObject) -> None:
    """Applications write what the user said while a tool ran before the result of the tool."""
    items = [item for message in data.draw(conversations()) for item in items_of(message)]
    order = data.draw(st.permutations(items))
    call = translated(json.dumps({"model": "auto", "input": order}).encode())
    if isinstance(call, InvalidField):  # a result before its call
        assert call.field.endswith("call_id")
        return
    messages = json.loads(bytes(call.body))["messages"]
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
            continue
        assert waiting == []
        waiting = [call["id"] for call in message.get("tool_calls", ())]
    assert waiting == []


@given(
    st.dictionaries(st.sampled_from(ResponsesRequest.__struct_fields__), VALUES, max_size=3),
    st.lists(VALUES, max_size=3),
)
@settings(max_examples=examples(300))
def test_a_body_of_any_shape_is_translated_or_refused(fields: dict[str, Any], items: list[Any]) -> None:
    translated(json.dumps({"model": "auto", "input": "Hello", **fields}).encode())
    translated(json.dumps({**fields, "model": "auto", "input": items}).encode())


@given(st.binary(max_size=40))
def test_bytes_of_any_kind_are_translated_or_refused(data: bytes) -> None:
    translated(data)
    translated(b'{"model":"auto","input":' + data + b"}")
    translated(b'{"model":"auto","input":"Hello","metadata":{"a":' + data + b"}}")


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "instructions": TEXT,
            "max_output_tokens": st.integers(1, 10_000),
            "metadata": st.dictionaries(TEXT, TEXT, max_size=3),
            "parallel_tool_calls": st.booleans(),
            "reasoning": st.fixed_dictionaries(
                {}, optional={"effort": st.sampled_from(["none", "low", "xhigh"])}
            ),
            "temperature": st.floats(0, 2) | st.integers(0, 2),
            "tools": st.lists(
                st.fixed_dictionaries(
                    {"type": st.just("function"), "name": TEXT},
                    optional={
                        "parameters": st.none() | st.dictionaries(TEXT, st.text(max_size=3), max_size=2),
                        "strict": st.none() | st.booleans(),
                        "description": st.none() | TEXT,
                    },
                ),
                max_size=2,
            ),
            "tool_choice": st.sampled_from(["auto", "none"]),
            "text": st.fixed_dictionaries({}, optional={"verbosity": st.sampled_from(["low", "high"])}),
            "store": st.booleans(),
            "user": TEXT,
        },
    )
)
def test_a_response_repeats_any_valid_request(fields: dict[str, Any]) -> None:
    call = translated(json.dumps({"model": "auto", "input": "Hello", **fields}).encode())
    assert isinstance(call, ResponsesCall)
    body = ResponsesDialect().whole(ID, CREATED_S, call, completed(message={"content": "x"}))
    strict_response(body)
    repeated = json.loads(body)
    assert {name: repeated[name] for name in fields} == fields
