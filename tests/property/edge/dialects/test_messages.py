"""K2: the Messages dialect on any answer in any pieces, any conversation, and any body."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from penstock.contract.reply import Delta
from services.edge.dialects.dialect import ChatCall, InvalidField
from services.edge.dialects.input_tokens import estimate_input_tokens
from services.edge.dialects.messages import count_tokens
from services.router.routing.features import extract_features
from tests.unit.edge.dialects.messages_client import (
    DIALECT,
    PLAIN,
    THINKING,
    chat,
    choice,
    events_of,
    message_of,
    read,
    streamed,
    text,
    tool,
    whole,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
names = st.sampled_from(["get", "put", "look"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
inputs = st.dictionaries(texts, values, max_size=3)
finish_reasons = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    """An assistant message with any of reasoning, text and tool calls."""
    calls = [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {
                "name": draw(names),
                "arguments": json.dumps(draw(inputs), ensure_ascii=draw(st.booleans())),
            },
        }
        for number in range(draw(st.integers(0, 3)))
    ]
    return {
        "reasoning_content": draw(st.none() | texts),
        "content": draw(st.none() | texts),
        "tool_calls": calls,
    }


def pieces(draw: st.DrawFn, whole_text: str) -> list[str]:
    cuts = sorted(draw(st.lists(st.integers(0, len(whole_text)), max_size=4)))
    return [whole_text[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole_text)], strict=True)]


@st.composite
def deltas_of(draw: st.DrawFn, answer: dict[str, Any], *, mixed: bool) -> list[Delta]:
    """The answer cut anywhere. `mixed`: fragments of parallel calls alternate."""
    field = draw(st.sampled_from(["reasoning_content", "reasoning"]))
    deltas = [choice(**{field: each}) for each in pieces(draw, answer["reasoning_content"] or "")]
    deltas += [text(each) for each in pieces(draw, answer["content"] or "")]
    queues = []
    for index, call in enumerate(answer["tool_calls"]):
        function = call["function"]
        first, *rest = pieces(draw, function["arguments"])
        start = tool(index, id=call["id"], name=function["name"], arguments=first)
        queues.append([start, *(tool(index, arguments=each) for each in rest)])
    while any(queues):
        queue = (
            draw(st.sampled_from([each for each in queues if each])) if mixed else next(filter(None, queues))
        )
        deltas.append(queue.pop(0))
    return deltas


answers_in_pieces = st.booleans().flatmap(
    lambda mixed: answers().flatmap(lambda answer: st.tuples(st.just(answer), deltas_of(answer, mixed=mixed)))
)


def by_id(message: dict[str, Any]) -> dict[str, Any]:
    """The content regardless of the order of parallel calls, which mixed fragments leave open."""
    blocks = message["content"]
    return {block.get("id", block["type"]): block for block in blocks} | {"blocks": len(blocks)}


@given(answers_in_pieces, finish_reasons, st.sampled_from([PLAIN, THINKING]))
def test_a_streamed_answer_is_the_whole_one(
    case: tuple[dict[str, Any], list[Delta]], finish_reason: str, call: ChatCall
):
    answer, deltas = case
    stream = streamed(deltas, finish_reason, call)
    expected = whole(answer, finish_reason, call)
    assert by_id(stream) == by_id(expected)
    assert {key: stream[key] for key in ("stop_reason", "usage", "id", "role")} == {
        key: expected[key] for key in ("stop_reason", "usage", "id", "role")
    }


@given(answers_in_pieces, st.data())
def test_content_never_waits_while_it_is_next(case: tuple[dict[str, Any], list[Delta]], data: st.DataObject):
    """Without mixed fragments, everything received has been sent when the next delta comes."""
    answer, _ = case
    deltas = data.draw(deltas_of(answer, mixed=False))
    at = data.draw(st.integers(0, len(deltas)))
    writer = DIALECT.stream("msg_1", 1, THINKING)
    sent = sum(len(event.data) for delta in deltas[:at] for event in writer.delta(delta))
    received = sum(len(delta.text) for delta in deltas[:at])
    received += sum(len(choice_text(raw)) for delta in deltas[:at] for raw in delta.choices)
    assert sent >= received


def choice_text(raw: Raw) -> str:
    delta = json.loads(bytes(raw))["delta"]
    calls = delta.get("tool_calls", [])
    return delta.get("reasoning", "") + "".join(each["function"].get("arguments", "") for each in calls)


@given(st.lists(answers(), min_size=1, max_size=4))
def test_an_answer_sent_back_is_the_chat_message_it_came_from(conversation: list[dict[str, Any]]):
    question = {"role": "user", "content": "Hi"}
    messages: list[dict[str, Any]] = []
    for answer in conversation:
        messages += [question, {"role": "assistant", "content": whole(answer)["content"]}]
    translated = chat(messages=[*messages, question])["messages"]
    said = [answer for answer in conversation if answer["content"] or answer["tool_calls"]]
    assert sum(each == question for each in translated) == len(conversation) + 1
    assert [meaning(each) for each in translated if each != question] == list(map(meaning, said))


def meaning(message: dict[str, Any]) -> Any:
    calls = [(call["id"], call["function"]) for call in message.get("tool_calls", [])]
    parsed = [(call_id, each["name"], json.loads(each["arguments"])) for call_id, each in calls]
    return message["content"], parsed


blocks = st.one_of(
    st.builds(lambda each: {"type": "text", "text": each}, texts),
    st.builds(lambda each: {"type": "tool_result", "tool_use_id": "a", "content": each}, texts),
    st.just({"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}),
)


@given(st.lists(blocks, min_size=1, max_size=6))
def test_no_text_and_no_image_of_a_user_is_lost(content: list[dict[str, Any]]):
    messages = chat(messages=[{"role": "user", "content": content}])["messages"]
    assert [each["content"] for each in messages if each["role"] == "tool"] == [
        each["content"] for each in content if each["type"] == "tool_result"
    ]
    rest = [each for each in content if each["type"] != "tool_result"]
    users = [each["content"] for each in messages if each["role"] == "user"]
    if all(each["type"] == "text" for each in rest):
        assert users == (["\n\n".join(each["text"] for each in rest)] if rest else [])
    else:
        assert [(part["type"], part.get("text")) for part in users[0]] == [
            ("text", each["text"]) if each["type"] == "text" else ("image_url", None) for each in rest
        ]


@given(st.lists(blocks, min_size=1, max_size=6), st.none() | texts)
def test_tokens_are_counted_as_the_router_counts_them(content: list[dict[str, Any]], system: str | None):
    call = read(messages=[{"role": "user", "content": content}], system=system)
    assert abs(estimate_input_tokens(call.body) - extract_features(call.body).estimated_tokens) <= 1


KEYS = [
    "model", "max_tokens", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "metadata",
    "role", "content", "type", "text", "source", "data", "media_type", "url", "id", "name", "input", "tool_use_id",
    "is_error", "input_schema", "description", "stop_sequences", "temperature", "budget_tokens", "format", "user_id",
]  # fmt: skip
WORDS = [
    "user",
    "assistant",
    "system",
    "text",
    "image",
    "document",
    "tool_use",
    "tool_result",
    "base64",
    "enabled",
    "",
]
hostile_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)
hostile_messages = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "assistant", "system"]),
            "content": texts
            | st.lists(
                st.dictionaries(st.sampled_from(KEYS), hostile_values, max_size=4)
                | st.builds(
                    lambda kind, rest: rest | {"type": kind},
                    st.sampled_from(WORDS),
                    st.dictionaries(st.sampled_from(KEYS), hostile_values | st.just({}), max_size=4),
                ),
                max_size=3,
            ),
        }
    ),
    max_size=3,
)


@given(
    st.dictionaries(st.sampled_from(KEYS), hostile_values, max_size=5),
    hostile_messages | hostile_values,
)
def test_any_json_is_translated_or_an_invalid_field(fields: dict[str, Any], messages: Any):
    body = json.dumps({"model": "auto", "max_tokens": 9} | fields | {"messages": messages}).encode()
    for translate in (lambda: DIALECT.read(body).body, lambda: Raw(count_tokens(body))):
        try:
            translated = translate()
        except InvalidField as error:
            named = (error.field, error.message)
            assert all(named)
        else:
            assert isinstance(json.loads(bytes(translated)), dict)


@given(st.binary(max_size=40), st.integers(0, 200))
def test_any_bytes_are_translated_or_an_invalid_field(noise: bytes, at: int):
    valid = b'{"model":"auto","max_tokens":8,"system":"Be kind","messages":[{"role":"user","content":"Hi"}]}'
    body = valid[:at] + noise + valid[at + len(noise) :]
    try:
        translated = DIALECT.read(body).body
    except InvalidField:
        return
    extract_features(translated)
    msgspec.json.decode(translated)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["reasoning", "content", "refusal", "tool_calls"]), hostile_values)
    )
)
def test_any_delta_of_a_provider_leaves_a_proper_stream(deltas: list[dict[str, Any]]):
    message = message_of(events_of([choice(**each) for each in deltas]))
    assert message["stop_reason"] in {"end_turn", "refusal"}
