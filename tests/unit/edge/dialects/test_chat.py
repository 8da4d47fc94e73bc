"""The dialect of chat completions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from penstock.contract.errors import ERRORS
from services.edge.dialects.chat import ChatDialect
from services.edge.dialects.dialect import AnswerError, ChatCall, InvalidField
from tests.harness.requests.reply_events import completed, delta, failed, started

DIALECT = ChatDialect()
MESSAGES = '"messages":[{"role":"user","content":"hi"}]'


def chunks(*events: Any, include_usage: bool = False) -> list[Any]:
    call = ChatCall(body=Raw(b"{}"), model="m", stream=True, include_usage=include_usage)
    stream = DIALECT.stream("chatcmpl-1", 7, call)
    found = stream.begin(started())
    for event in events:
        found += stream.delta(event)
    return [json.loads(event.data) for event in found]


@pytest.mark.parametrize(
    ("fields", "stream", "include_usage", "user"),
    [
        ("", False, False, ""),
        (',"stream":true', True, False, ""),
        (',"stream":null,"stream_options":null,"user":null', False, False, ""),
        (',"stream":true,"stream_options":{"include_usage":true},"user":"ada"', True, True, "ada"),
        (',"safety_identifier":"ada","stream_options":{"new":1}', False, False, "ada"),
    ],
)
def test_e1_the_body_passes_as_received(fields: str, *, stream: bool, include_usage: bool, user: str):
    body = f'{{"model":"coding",\n {MESSAGES} , "x": 1.50e3{fields}}}'.encode()
    call = DIALECT.read(body)
    assert bytes(call.body) == body
    assert (call.model, call.stream, call.include_usage, call.user) == (
        "coding",
        stream,
        include_usage,
        user,
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"not json", "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b'{"model":"m"', "body"),
        (b'\xff{"model":"m"}', "body"),
        (b'{"model":"m",' + MESSAGES.encode() + b"}trailing", "body"),
        (b'{"model":"m"}', "messages"),
        (b'{"messages":[{}]}', "model"),
        (b'{"model":7,"messages":[{}]}', "model"),
        (b'{"model":"","messages":[{}]}', "model"),
        (b'{"model":"m","messages":[]}', "messages"),
        (b'{"model":"m","messages":{}}', "messages"),
        (b'{"model":"m","messages":["hi"]}', "messages"),
        (b'{"model":"m","messages":[{}],"stream":"yes"}', "stream"),
        (
            b'{"model":"m","messages":[{}],"stream_options":{"include_usage":1}}',
            "stream_options.include_usage",
        ),
        (b'{"model":"m","messages":[{}],"user":5}', "user"),
        (b'{"model":"m","messages":[{"content":"\\ud800"}]}', "body"),
        (b'{"model":"m","messages":[{}],"x":"\xff"}', "body"),
        (b'{"model":"m","messages":[{}],"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "body"),
        (b'{"model":"m","messages":[{}],"x":1e99999}', "body"),
        (b'{"model":"m","messages":[{}],"x":NaN}', "body"),
    ],
)
def test_d10_a_body_that_cannot_be_used_names_the_field(body: bytes, field: str):
    with pytest.raises(InvalidField) as invalid:
        DIALECT.read(body)
    assert invalid.value.field.startswith(field)
    assert invalid.value.message


def test_e1_numbers_that_no_float_holds_pass():
    number = "9" * 4_000
    body = f'{{"model":"m",{MESSAGES},"seed":{number}}}'.encode()
    assert number.encode() in bytes(DIALECT.read(body).body)


def test_e1_a_whole_answer_gets_our_id_and_the_model_and_keeps_the_rest():
    response = b'{"id":"x","created":1,"model":"provider/m","choices":[{"n":1.50}],"usage":{"a":1},"y":[1.0]}'
    call = ChatCall(body=Raw(b"{}"), model="coding")
    answer = DIALECT.whole("chatcmpl-1", 7, call, completed(model="m", response=Raw(response)))
    assert b'"choices":[{"n":1.50}]' in answer
    read = json.loads(answer)
    assert (read["id"], read["object"], read["created"], read["model"]) == (
        "chatcmpl-1",
        "chat.completion",
        7,
        "m",
    )
    assert (read["usage"], read["y"]) == ({"a": 1}, [1.0])


@pytest.mark.parametrize("response", [b'{"choices":[]}', b'{"choices":[],"usage":null}'])
def test_e1_usage_that_the_provider_omits_is_added(response: bytes):
    call = ChatCall(body=Raw(b"{}"), model="coding")
    answer = json.loads(DIALECT.whole("c", 7, call, completed(response=Raw(response))))
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["total_tokens"]) == (5, 12)


def test_e1_text_chunks_have_openais_shape():
    first, second = chunks(delta('é"\n\u2028'))
    assert first["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
    ]
    assert second == {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": 'é"\n\u2028'}, "finish_reason": None}],
    }


def test_e1_choices_pass_in_their_order_each_in_a_chunk_of_its_own():
    """Most clients read `choices[0]` of a chunk only."""
    several = [{"index": 1, "delta": {"content": "b"}}, {"index": 2, "delta": {}, "finish_reason": "stop"}]
    sent = [chunk["choices"] for chunk in chunks(delta("", *several))[1:]]
    assert [each for each in sent if "role" not in each[0]["delta"]] == [[each] for each in several]


def test_e1_the_first_chunk_of_each_choice_has_the_role():
    """OpenAI's SDK for Node refuses a streamed choice without one."""
    first = delta("", {"index": 1, "delta": {"content": "a"}}, {"index": 0, "delta": {"reasoning": "b"}})
    sent = chunks(first, delta("", {"index": 1, "delta": {"content": "c"}}))
    roles = [choice["index"] for chunk in sent for choice in chunk["choices"] if "role" in choice["delta"]]
    assert roles == [0, 1]
    assert sent[1]["choices"][0] == {
        "index": 1,
        "delta": {"role": "assistant", "content": ""},
        "finish_reason": None,
    }


def test_e1_the_finish_reason_of_choice_0_comes_at_the_end_only():
    """The text of the same chunk may follow in the next delta."""
    early = {"index": 0, "delta": {}, "logprobs": {"content": []}, "finish_reason": "length"}
    assert chunks(delta("", early))[1]["choices"] == [{**early, "finish_reason": None}]


@pytest.mark.parametrize(
    "choice",
    [b'{"delta": {\n"a":\r\n1}}', b'{"index":"0","finish_reason":7}', b'{"finish_reason":"x"'],
)
def test_e1_a_choice_is_one_line_whatever_the_provider_sends(choice: bytes):
    call = ChatCall(body=Raw(b"{}"), model="m", stream=True)
    stream = DIALECT.stream("c", 1, call)
    stream.begin(started())
    event = delta("")
    (sent,) = stream.delta(type(event)(id=event.id, seq=1, choices=(Raw(choice),)))
    assert b"\n" not in sent.data
    assert b"\r" not in sent.data


def test_e1_the_end_has_the_finish_reason_the_usage_and_done():
    call = ChatCall(body=Raw(b"{}"), model="m", stream=True, include_usage=True)
    stream = DIALECT.stream("c", 1, call)
    first = json.loads(stream.begin(started())[0].data)
    assert first["usage"] is None
    finish, usage, done = stream.complete(completed(finish_reason="tool_calls"))
    assert json.loads(finish.data)["choices"] == [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]
    assert json.loads(usage.data)["choices"] == []
    assert json.loads(usage.data)["usage"]["total_tokens"] == 12
    assert done.data == b"[DONE]"


def test_d10_a_failed_stream_has_an_error_object_and_no_done():
    stream = DIALECT.stream("c", 1, ChatCall(body=Raw(b"{}"), model="m", stream=True))
    (event,) = stream.fail(AnswerError.of(failed(message="it broke").error))
    assert json.loads(event.data) == {
        "error": {
            "message": "it broke",
            "type": "server_error",
            "param": None,
            "code": "provider_unavailable",
        }
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (504, "server_error"),
    ],
)
def test_d10_the_error_type_follows_from_the_status(status: int, kind: str):
    error = json.loads(DIALECT.error(AnswerError("some_code", "what to do", status), "field"))
    assert error == {"error": {"message": "what to do", "type": kind, "param": "field", "code": "some_code"}}


def test_d10_every_code_of_the_contract_has_an_error_type():
    for code, spec in ERRORS.items():
        assert json.loads(DIALECT.error(AnswerError(code, "", spec.http_status)))["error"]["type"]
