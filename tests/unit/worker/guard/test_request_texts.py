"""Reading the texts of a chat body, and writing others into their places."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.contract.guard.places import ContentPlace
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


def test_g1_each_text_has_the_place_that_the_application_knows():
    passage = ContentPlace(kind="passage", number=1, name="guide.md")
    placed = {"role": "system", "content": "Rules. A text."}
    messages = [
        {"role": "system", "content": "Be brief."},
        placed,
        {"role": "user", "content": "Hello."},
        {"role": "tool", "content": "sent"},
    ]
    body = json.dumps({"messages": messages, "metadata": {"note": "a note"}}).encode()
    read = texts_of(body, {1: [(7, 14, passage)]})
    assert {text.text: place for text, place in zip(read.texts, read.places, strict=True)} == {
        "Be brief.": ContentPlace(kind="message", number=1),
        "A text.": passage,
        "Hello.": ContentPlace(kind="message", number=2),
        "sent": ContentPlace(kind="tool_result", number=3),
        "a note": ContentPlace(kind="field", name="metadata"),
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
        {"type": "input_file", "file_data": "data:application/pdf;base64,QUJD"},
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


@pytest.mark.parametrize(
    "key", ["data", "file_data", "signature", "encrypted_content", "url", "image_url", "id", "status"]
)
@pytest.mark.parametrize(
    "value",
    [
        "mail ann@a.example",
        "data: mail ann@a.example",
        "data:text/plain,mail%20ann@a.example",
        "data:image/png;base64,QUJD mail ann@a.example",
        "https://x.example/?to=ann@a.example",
    ],
)
def test_g1_what_is_not_encoded_is_read_under_the_keys_of_media_and_ids(key: str, value: str) -> None:
    for part in ({"type": "image_url", key: value}, {"type": "image", "source": {key: value}}):
        read = texts_of(_body([part]))
        assert [each.text for each in read.texts] == [value]
        assert read.fixed == (None if key == "data" else 0)


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
    tool = {"type": "mcp", "headers": {"Authorization": "Bearer y@x.example"}, "authorization": "y@x.example"}
    assert texts_of(json.dumps({"tools": [tool]}).encode()).texts == ()
    read = texts_of(json.dumps({"tools": [{**tool, "type": "function"}]}).encode())
    assert [each.text for each in read.texts] == ["Bearer y@x.example\ny@x.example"]


@pytest.mark.parametrize(
    "field",
    [
        *({name: "ann@a.example"} for name in ("user", "safety_identifier", "prompt_cache_key", "prompt")),
        *({name: ["ann@a.example"]} for name in ("stop", "chat_template", "odd")),
        *({name: {"deep": {"er": "ann@a.example"}}} for name in ("metadata", "chat_template_kwargs")),
        {"model": "ann@a.example"},
        {"messages": [{"role": "user", "name": "ann@a.example"}]},
        {"tools": [{"examples": [{"to": "ann@a.example"}]}]},
    ],
)
def test_g6_strings_of_other_fields_are_read_and_replaced(field: dict[str, Any]) -> None:
    body = json.dumps({"seed": 1, **field}).encode()
    assert _texts(body) == [("system", "ann@a.example")]
    assert texts_of(body).fixed is None
    assert json.loads(rewritten(body, ["[EMAIL_1]"])) == json.loads(
        body.replace(b"ann@a.example", b"[EMAIL_1]")
    )


@pytest.mark.parametrize(
    "field",
    [
        {"tool_choice": {"type": "function", "function": {"name": "ann@a.example"}}},
        {"tools": [{"function": {"name": "ann@a.example"}}]},
        {"tools": [{"function": {"parameters": {"properties": {"ann@a.example": {}}}}}]},
        {"tools": [{"function": {"parameters": {"required": ["ann@a.example"], "pattern": "x"}}}]},
        {"response_format": {"json_schema": {"name": "ann@a.example"}}},
        {"metadata": {"ann@a.example": True}},
        {"ann@a.example": 1},
        {"messages": [{"role": "tool", "name": "ann@a.example", "content": ""}]},
        {"messages": [{"role": "ann@a.example"}]},
        {"messages": [{"role": "user", "ann@a.example": None}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "ann@a.example"}}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "ann@a.example"}]}]},
    ],
)
def test_g6_names_keys_and_ids_are_one_text_that_cannot_be_replaced(field: dict[str, Any]) -> None:
    body = json.dumps(field).encode()
    assert _texts(body) == [("system", "ann@a.example")]
    assert texts_of(body).fixed == 0
    assert rewritten(body, ["ann@a.example"]) is body
    with pytest.raises(ValueError, match="cannot be replaced"):
        rewritten(body, ["[EMAIL_1]"])


def test_g1_usual_names_and_settings_are_no_texts() -> None:
    call = {
        "id": "call_0123456789",
        "type": "function",
        "function": {"name": "get_weather_2", "arguments": ""},
    }
    body = {
        "model": "gpt-4.1-mini-2025-04-14",
        "reasoning_effort": "low",
        "stop": ["END", "\n\n"],
        "logit_bias": {"50256": -100},
        "tool_choice": "auto",
        "messages": [{"role": "assistant", "tool_calls": [call]}],
        "tools": [
            {"type": "function", "function": {"name": "get_weather_2", "parameters": {"type": "object"}}}
        ],
    }
    assert texts_of(json.dumps(body).encode()).texts == ()


@pytest.mark.parametrize("space", ["", " ", "\n  "])
@pytest.mark.parametrize(
    "body",
    [
        '{"messages":[{"role":"user","content":"mail ann@a.example",@"content":"hi"}]}',
        '{"messages":[{"role":"user","con\\u0074ent":"mail ann@a.example",@"content":"hi"}]}',
        '{"messages":[{"role":"user","content":"mail ann@a.example"}],@"messages":[]}',
        '{"metadata":{"a":"ann@a.example",@"b":1,"a":2}}',
        '{"tools":[{"function":{"description":"ann@a.example",@"description":""}}]}',
    ],
)
def test_g6_a_repeated_key_is_refused(body: str, space: str) -> None:
    body = body.replace(",@", f",{space}@").replace("@", "")
    with pytest.raises(ValueError, match="a key is repeated"):
        texts_of(body.encode())


def test_g6_a_key_that_fits_into_the_blanks_of_an_object_is_refused() -> None:
    others = ",".join(f'"key{number}":1' for number in range(10, 99))
    hidden = '"content":"mail ann@a.example",'
    for blanks in range(200):
        message = f'{{{hidden}"content":"hi",{others}{" " * blanks}}}'
        with pytest.raises(ValueError, match="a key is repeated"):
            texts_of(f'{{"messages":[{message}]}}'.encode())


@pytest.mark.parametrize("indent", [None, 0, 2])
def test_g1_a_body_without_repeated_keys_is_read_however_it_is_written(indent: int | None) -> None:
    body = {**BODY, "ключ": {"a": [1e9, "number", None]}, 'quo"te': {}}
    for ascii_ in (True, False):
        written = json.dumps(body, indent=indent, ensure_ascii=ascii_).encode()
        written = written.replace(b'"number"', b"9" * 5000)
        assert len(texts_of(written).texts) == 16


@pytest.mark.parametrize("levels", [45, 400])
@pytest.mark.parametrize("field", ["messages", "tools", "metadata", "documents"])
def test_g6_a_body_that_is_nested_too_deeply_is_refused(field: str, levels: int) -> None:
    value: Any = "ann@a.example"
    for level in range(levels):
        value = [value] if level % 2 else {"properties": value}
    with pytest.raises(ValueError, match="nested more than 40 levels deep"):
        texts_of(json.dumps({field: value}).encode())


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
