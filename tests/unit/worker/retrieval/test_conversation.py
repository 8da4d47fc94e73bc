"""H3: what retrieval reads of a body, and where messages are inserted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from services.worker.retrieval.conversation import PlacedMessage, read_conversation, with_messages

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def body(*messages: dict[str, Any], **fields: Any) -> Raw:
    return Raw(json.dumps({"messages": messages, **fields}).encode())


def test_h3_the_questions_are_the_texts_of_the_user() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    read = read_conversation(
        body(
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": "Answer in English."},
            {"role": "user", "content": "One?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "A result."},
            {"role": "assistant", "content": "It is one."},
            {"role": "user", "content": [{"type": "text", "text": "What is on"}, IMAGE, {"type": "text"}]},
            {"role": "user", "content": [IMAGE]},
        )
    )
    assert (read.instructions, read.role) == (2, "system")
    assert read.questions == ("One?", "What is on")
    assert read.texts == ("One?", "It is one.", "What is on")


@pytest.mark.parametrize(
    ("roles", "role"),
    [(("developer", "user"), "developer"), (("user", "developer"), "system"), ((), "system")],
)
def test_h3_what_is_inserted_has_the_role_of_the_instructions(roles: tuple[str, ...], role: str) -> None:
    assert read_conversation(body(*({"role": each, "content": "x"} for each in roles))).role == role


@pytest.mark.parametrize("data", [b"[]", b"{", b'{"messages": 5}', b'{"messages": ["a"]}'])
def test_h3_a_body_that_cannot_be_read_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        read_conversation(Raw(data))


def test_h3_messages_are_inserted_and_the_others_keep_their_bytes() -> None:
    first, second = Raw(b'{"role":"system","content":"F"}'), Raw(b'{"role":"system","content":"S"}')
    before = Raw(b'{"messages":[ {"role": "system",  "content":"A"},{"role":"user","content":"B"} ],"n":1e0}')
    after = with_messages(before, [PlacedMessage(0, first, ()), PlacedMessage(2, second, ())])
    assert bytes(after) == (
        b'{"messages":[{"role":"system","content":"F"},{"role": "system",  "content":"A"},'
        b'{"role":"system","content":"S"},{"role":"user","content":"B"}],"n":1e0}'
    )
