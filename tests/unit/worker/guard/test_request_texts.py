"""Reading the texts of a chat body, and writing others into their places."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.worker.guard.request_texts import rewritten, texts_of

CALL: dict[str, Any] = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "mail", "arguments": '{"to":"a@b.example"}'},
}
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "to": {"type": "string", "description": "An address", "enum": ["a", "b"]},
        "title": {"type": "string", "default": "d"},
    },
}
ENCODED = "QUJD" * 20
PICTURE: dict[str, Any] = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{ENCODED}"}}
BODY: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "name": "anna", "content": [{"type": "text", "text": "Look:"}, PICTURE]},
        {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sent"},
        {"role": "assistant", "content": "Done", "refusal": "no", "function_call": {"arguments": "{}"}},
    ],
    "tools": [
        {"type": "function", "function": {"description": "Sends mail", "parameters": PARAMETERS}},
    ],
    "functions": [{"name": "old", "description": "Legacy"}],
    "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"title": "Answer"}}},
    "prediction": {"type": "content", "content": "predicted"},
    "stop": ["END"],
}


def _texts(body: bytes) -> list[tuple[str, str]]:
    return [(each.origin, each.text) for each in texts_of(body).texts]


def _body(content: Any) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": content}]}).encode()


def test_g1_every_text_of_a_body_is_read_with_its_origin() -> None:
    assert _texts(json.dumps(BODY).encode()) == [
        ("system", "Be brief."),
        ("user", "Look:"),
        ("assistant", "hm"),
        ("assistant", '{"to":"a@b.example"}'),
        ("tool", "sent"),
        ("assistant", "Done"),
        ("assistant", "no"),
        ("assistant", "{}"),
        ("system", "Sends mail"),
        ("system", "An address"),
        ("system", "a"),
        ("system", "b"),
        ("system", "d"),
        ("system", "Legacy"),
        ("system", "Answer"),
        ("user", "predicted"),
    ]


def test_g6_texts_are_replaced_in_their_places() -> None:
    body = json.dumps(BODY).encode()
    texts = [each.text for each in texts_of(body).texts]
    new = [f"<{number}> «{text}» ☎" for number, text in enumerate(texts)]
    changed = rewritten(body, new)
    assert [each.text for each in texts_of(changed).texts] == new
    assert json.loads(rewritten(changed, texts)) == BODY


def test_g6_what_is_not_replaced_keeps_its_bytes() -> None:
    body = (
        b'{"seed": 12345678901234567890123, "temperature":1.0e0, "x": {"b":1,"a":[ 2 ]},'
        b'"messages":[ {"role":"user","content":"mail me", "odd":1e-7, "name":"\\u0041"},'
        b' {"role":"user", "content" :  "second"} ], "user":"u"}'
    )
    assert rewritten(body, ["mail me", "second"]) is body
    changed = rewritten(body, ["mail [EMAIL_1]", "second"])
    assert changed == (
        b'{"seed":12345678901234567890123,"temperature":1.0e0,"x":{"b":1,"a":[ 2 ]},'
        b'"messages":[{"role":"user","content":"mail [EMAIL_1]","odd":1e-7,"name":"\\u0041"},'
        b'{"role":"user", "content" :  "second"}],"user":"u"}'
    )


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_file", "file_data": "data:application/pdf;base64,QUJD", "filename": "a.pdf"},
        {"type": "file", "file": {"file_data": ENCODED}},
        {"type": "input_audio", "input_audio": {"data": ENCODED, "format": "wav"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ENCODED}},
        {"type": "redacted_thinking", "data": ENCODED},
        {"type": "text", "text": ""},
        5,
        None,
        {"text": 7},
    ],
)
def test_g1_media_and_unexpected_types_have_no_text(part: Any) -> None:
    assert texts_of(_body([part])).texts == ()
    assert rewritten(_body([part]), []) == _body([part])


TYPES = (
    *("audio", "file", "image", "image_file", "image_url", "input_audio", "input_file", "input_image"),
    *("redacted_thinking", "video", "video_url", "text"),
)


@pytest.mark.parametrize("kind", TYPES)
def test_g1_a_type_hides_no_text_of_a_message_or_part(kind: str) -> None:
    message = {"role": "user", "type": kind, "content": "in the message"}
    assert _texts(json.dumps({"messages": [message]}).encode()) == [("user", "in the message")]
    part = {"type": kind, "text": "mail ann@a.example", "content": "c", "odd": {"x": "y"}, **PICTURE}
    assert _texts(_body([{**part, "type": kind}])) == [
        *(("user", text) for text in ("mail ann@a.example", "c", "y"))
    ]


@pytest.mark.parametrize("key", ["data", "file_data", "signature", "encrypted_content", "url", "image_url"])
@pytest.mark.parametrize(
    "value",
    [
        "mail ann@a.example",
        "data: mail ann@a.example",
        "data:text/plain,mail%20ann@a.example",
        "data:image/png;base64,QUJD mail ann@a.example",
        "data:image/png;base64,QUJD\nmail",
        "https://x.example/?to=ann@a.example",
        "4111111111111111",
    ],
)
def test_g1_what_is_not_encoded_is_read_under_the_keys_of_media(key: str, value: str) -> None:
    assert ("user", value) in _texts(_body([{"type": "image_url", key: value}]))
    assert ("user", value) in _texts(_body([{"type": "image", "source": {key: value}}]))


def test_g1_unusual_places_of_text_are_read() -> None:
    content = [
        "plain",
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "in a document"}},
        {"type": "tool_result", "content": [{"type": "text", "text": "from a tool"}]},
        {"type": "thinking", "thinking": "thought", "signature": ENCODED},
        {"unknown": {"deep": ["text"]}},
    ]
    assert _texts(_body(content)) == [
        ("user", "plain"),
        ("user", "in a document"),
        ("tool", "from a tool"),
        ("user", "thought"),
        ("user", "text"),
    ]


def test_g1_credentials_of_tool_servers_are_no_texts() -> None:
    tool = {"type": "mcp", "server_url": "https://x", "headers": {"Authorization": "Bearer y"}}
    assert texts_of(json.dumps({"tools": [tool]}).encode()).texts == ()


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"1",
        b'"text"',
        b"{}",
        b'{"messages":7}',
        b'{"messages":[1,null,[],{"role":4}]}',
        b'{"tools":"x"}',
    ],
)
def test_g1_bodies_of_unexpected_types_have_no_text(body: bytes) -> None:
    assert texts_of(body).texts == ()
    assert rewritten(body, []) == body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"messages":[{"content":"a"}]',
        b'{"messages":[{"content":"\xff"}]}',
        b'{"messages":[{"content":"\\ud83d"}]}',
        b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"messages":[{"content":' + b"[" * 5_000 + b"]" * 5_000 + b"}]}",
    ],
    ids=["empty", "cut", "unclosed", "not UTF-8", "half a character", "deep", "deep content"],
)
def test_g1_what_is_not_json_raises(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        texts_of(body)


@pytest.mark.parametrize("texts", [[], ["a"], ["a", "b", "c"]])
def test_g6_another_number_of_texts_raises(texts: list[str]) -> None:
    body = json.dumps({"messages": [{"content": ["x", "y"]}]}).encode()
    with pytest.raises(ValueError, match="texts than the body has"):
        rewritten(body, texts)
