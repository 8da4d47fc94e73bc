"""D5, I1: a trimmed conversation is always valid for a provider."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from services.worker.degradation.shorten import trim


def turn(number: int, calls: int, answer: bool) -> list[dict]:
    """A question, rounds of tool calls with two results each, and an answer."""
    messages: list[dict] = [{"role": "user", "content": f"question {number}"}]
    for round_number in range(calls):
        ids = [f"c{number}.{round_number}.{each}" for each in range(2)]
        messages.append({"role": "assistant", "content": None, "tool_calls": [{"id": each} for each in ids]})
        messages += [{"role": "tool", "tool_call_id": each, "content": "a result"} for each in ids]
    if answer:
        messages.append({"role": "assistant", "content": f"answer {number}"})
    return messages


INSTRUCTIONS = st.lists(st.sampled_from(["system", "developer"]), max_size=2)
TURNS = st.lists(st.tuples(st.integers(0, 3), st.booleans(), INSTRUCTIONS), min_size=1, max_size=10)


@st.composite
def conversations(draw) -> list[dict]:
    messages = [{"role": role, "content": "be brief"} for role in draw(INSTRUCTIONS)]
    for number, (calls, answer, between) in enumerate(draw(TURNS)):
        messages += turn(number, calls, answer)
        messages += [{"role": role, "content": f"from now on {number}"} for role in between]
    return messages


def instructions(messages: list[dict]) -> list[dict]:
    return [each for each in messages if each["role"] in ("system", "developer")]


def history(messages: list[dict]) -> list[dict]:
    return [each for each in messages if each["role"] not in ("system", "developer")]


@given(conversations(), st.integers(1, 12))
def test_d5_instructions_and_the_end_of_the_conversation_remain(messages, at_most):
    trimmed = trim(json.dumps(messages).encode(), at_most)
    if trimmed is None:
        old = history(messages)
        turns = sum(each["role"] == "user" for each in old)
        assert len(old) <= at_most or turns == 1, "a turn could have been removed"
        return
    left = [json.loads(bytes(each)) for each in trimmed.messages]
    assert instructions(left) == instructions(messages)
    assert history(left) == history(messages)[-trimmed.after :]
    assert (trimmed.before, trimmed.after) == (len(history(messages)), len(history(left)))
    assert trimmed.after < trimmed.before
    assert history(left)[0]["role"] == "user"
    called: set[str] = set()
    for message in left:
        called |= {call["id"] for call in message.get("tool_calls") or ()}
        assert message.get("tool_call_id") in called | {None}
    last_turn = len(history(messages)) - max(
        index for index, each in enumerate(history(messages)) if each["role"] == "user"
    )
    assert trimmed.after <= max(at_most, last_turn)


@given(conversations(), st.integers(1, 12))
def test_d5_trimming_is_idempotent(messages, at_most):
    trimmed = trim(json.dumps(messages).encode(), at_most)
    if trimmed is not None:
        again = b"[" + b",".join(bytes(each) for each in trimmed.messages) + b"]"
        assert trim(again, at_most) is None


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_d5_an_invalid_conversation_is_not_trimmed(raw):
    assert trim(raw, 1) is None


def test_d5_a_tool_result_is_not_separated_from_its_call():
    messages = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "tool_calls": [{"id": "a"}]},
        {"role": "user", "content": "wait"},
        {"role": "tool", "tool_call_id": "a", "content": "the result"},
        {"role": "assistant", "content": "done"},
    ]
    assert trim(json.dumps(messages).encode(), 3) is None


def test_d5_remaining_messages_are_unchanged_bytes():
    first = '{"role":"user","content":"x"}'
    last = '{"content" : "\\u00e9",  "role":"user", "name":"a"}'
    trimmed = trim(f"[{first},{first},{last}]".encode(), 1)
    assert trimmed is not None
    assert [bytes(each).decode() for each in trimmed.messages] == [last]
