"""E1: a whole completion from the pieces of a streamed one."""

from __future__ import annotations

from typing import Any

from services.edge.dialects.chat_assembly import assembled_choices
from tests.harness.requests.reply_events import delta


def piece(index: int = 0, **fields: Any) -> dict[str, Any]:
    return {"index": index, "delta": fields}


def call(index: int, arguments: str, **fields: Any) -> dict[str, Any]:
    function = {"arguments": arguments, **fields}
    found: dict[str, Any] = {"index": index, "function": function}
    return found


def test_e1_text_reasoning_and_further_choices_are_joined():
    first, second = assembled_choices(
        [
            delta("", piece(reasoning_content="hm"), piece(1, content="B")),
            delta("Hel"),
            delta("lo"),
            delta("", piece(1, content="ye"), "not a choice"),
        ],
        "stop",
    )
    assert first == {
        "index": 0,
        "message": {"role": "assistant", "content": "Hello", "refusal": None, "reasoning_content": "hm"},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert second["message"]["content"] == "Bye"


def test_e1_pieces_of_tool_calls_are_joined_by_call():
    pieces = [
        [{"id": "a", **call(0, "", name="f")}],
        [call(0, '{"x"'), {"id": "b", **call(1, "{}", name="g")}],
        [call(0, ":1}")],
    ]
    (choice,) = assembled_choices([delta("", piece(tool_calls=each)) for each in pieces], "tool_calls")
    assert choice["message"]["content"] is None
    assert [(each["id"], each["function"]) for each in choice["message"]["tool_calls"]] == [
        ("a", {"name": "f", "arguments": '{"x":1}'}),
        ("b", {"name": "g", "arguments": "{}"}),
    ]


def test_e1_an_empty_answer_has_empty_content():
    (choice,) = assembled_choices([], "stop")
    assert choice["message"]["content"] == ""
