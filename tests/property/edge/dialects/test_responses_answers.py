"""K2: how an answer was split into reply events does not change the response, and its events are always valid."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, Struct

from penstock.contract.reply import Delta
from services.edge.dialects.chat_choices import choice_of_chunk
from tests.unit.edge.dialects.responses_answers import (
    choices,
    completed,
    streamed,
    strict_events,
    text,
    tool_call,
    whole,
)

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
NAMES = st.text("abcdef_", min_size=1, max_size=5)
IDS = st.sampled_from(["", "a", "b", "call_1"])
"""Providers also send equal ids, and none."""
KEYS = re.findall(
    r"\w+",
    "index delta content reasoning refusal tool_calls function id name arguments type text thinking logprobs token "
    "logprob top_logprobs bytes",
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


class Call(Struct):
    id: str
    name: str
    arguments: str


class Answer(Struct):
    """The message of a chat completion."""

    reasoning: str
    content: str
    refusal: str
    calls: list[Call]

    def message(self) -> dict[str, Any]:
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in self.calls
        ]
        return {
            "reasoning": self.reasoning,
            "content": self.content,
            "refusal": self.refusal,
            "tool_calls": calls,
        }


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    calls = draw(st.lists(st.builds(Call, id=IDS, name=NAMES, arguments=TEXT), max_size=3))
    return Answer(*(draw(TEXT | st.just("")) for _ in range(3)), calls)


@st.composite
def pieces_of(draw: st.DrawFn, content: str) -> list[str]:
    """Any split of a text."""
    cuts = sorted(draw(st.lists(st.integers(0, len(content)), max_size=4)))
    return [content[start:end] for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True)]


@st.composite
def call_pieces(draw: st.DrawFn, calls: list[Call]) -> list[Any]:
    """The pieces of calls that begin one after the other and continue in any order."""
    waiting: list[list[Any]] = []
    pieces: list[Any] = []
    for index, call in enumerate(calls):
        first, *rest = draw(pieces_of(call.arguments))
        pieces.append(tool_call(index, call.id, call.name, first))
        waiting.append([tool_call(index, arguments=each) for each in rest])
        while any(waiting) and draw(st.booleans()):
            pieces.append(draw(st.sampled_from([each for each in waiting if each])).pop(0))
    while any(waiting):
        pieces.append(draw(st.sampled_from([each for each in waiting if each])).pop(0))
    return pieces


@st.composite
def split_answers(draw: st.DrawFn) -> tuple[Answer, list[Delta]]:
    """An answer, and the deltas of one stream of it. Pieces of one kind may come in one delta."""
    answer = draw(answers())
    deltas = [choices({"reasoning": piece}) for piece in draw(pieces_of(answer.reasoning))]
    deltas += [text(piece) for piece in draw(pieces_of(answer.content))]
    deltas += [choices({"refusal": piece}) for piece in draw(pieces_of(answer.refusal))]
    waiting = draw(call_pieces(answer.calls))
    while waiting:
        count = draw(st.integers(1, len(waiting)))
        deltas.append(choices(*waiting[:count]))
        waiting = waiting[count:]
    return answer, deltas


@given(split_answers(), st.sampled_from(["stop", "tool_calls", "length", "content_filter"]))
def test_a_split_answer_gives_the_response_of_the_whole_one(
    split: tuple[Answer, list[Delta]], finish_reason: str
) -> None:
    answer, deltas = split
    end = completed(finish_reason, answer.message())
    assert strict_events(streamed(deltas, end))[-1].response == whole(end)


@given(split_answers())
def test_a_whole_answer_has_every_text_and_call(split: tuple[Answer, list[Delta]]) -> None:
    answer, _ = split
    response = whole(completed("stop", answer.message()))
    assert response.output_text == answer.content
    calls = [item for item in response.output if item.type == "function_call"]
    assert [(call.name, call.arguments) for call in calls] == [
        (call.name, call.arguments) for call in answer.calls
    ]
    assert len({call.call_id for call in calls}) == len(calls)
    assert {call.id for call in answer.calls if call.id} <= {call.call_id for call in calls}


@given(st.lists(st.tuples(st.sampled_from(["text", "reasoning", "refusal", "call"]), TEXT), max_size=12))
def test_pieces_in_any_order_are_kept_in_their_order(pieces: list[tuple[str, str]]) -> None:
    deltas = []
    for kind, content in pieces:
        piece = tool_call(0, "a", "f", content) if kind == "call" else {kind: content}
        deltas.append(text(content) if kind == "text" else choices(piece))
    output = strict_events(streamed(deltas, completed("length")))[-1].response.output
    written = {"text": "", "reasoning": "", "refusal": "", "call": ""}
    for item in output:
        if item.type == "function_call":
            written["call"] += item.arguments
        for part in item.content if item.type != "function_call" else ():
            kind = {"output_text": "text", "reasoning_text": "reasoning"}.get(part.type, part.type)
            written[kind] += part.refusal if kind == "refusal" else part.text
    assert written == {name: "".join(each for kind, each in pieces if kind == name) for name in written}


@given(st.lists(VALUES, max_size=4), VALUES)
def test_pieces_of_any_shape_give_valid_events(pieces: list[Any], message: Any) -> None:
    raws = tuple(Raw(json.dumps(piece).encode()) for piece in pieces)
    strict_events(streamed([Delta(id="r", seq=1, choices=raws)], completed()))
    whole(completed(message=message if isinstance(message, dict) else {}))


@given(st.binary(max_size=30))
def test_bytes_of_any_kind_are_no_piece_or_a_choice(data: bytes) -> None:
    choice_of_chunk(Raw(data))
