"""The texts of an answer by channel, and the answer with others in their places."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from services.worker.guard.answer_channels import CONTENT, AnswerChannels, AnswerTexts, WholeAnswer
from services.worker.providers.errors.failures import ProviderFailure


def _choice(delta: dict[str, Any], index: int = 0, **others: Any) -> Raw:
    return Raw(json.dumps({"index": index, "delta": delta, **others}).encode())


def _call(index: int, arguments: Any, **others: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, **others, "function": {"arguments": arguments}}]}


def _named(read: AnswerTexts) -> list[tuple[int, str, str]]:
    return [
        (channel.choice, channel.name, text) for channel, text in zip(read.channels, read.texts, strict=True)
    ]


def test_g3_each_text_of_each_choice_is_a_channel_of_its_own() -> None:
    channels = AnswerChannels()
    assert _named(channels.read(_choice({"content": "a"}, 1))) == [(1, "content", "a")]
    assert _named(channels.read(_choice({"reasoning_content": "b"}))) == [(0, "reasoning_content", "b")]
    assert _named(channels.read(_choice({"refusal": "c", "new_key": {"deep": "d"}}))) == [
        (0, "refusal", "c"),
        (0, "new_key.deep", "d"),
    ]
    assert _named(channels.read(_choice(_call(0, "{")))) == [(0, "tool_calls.0.function.arguments", "{")]
    assert _named(channels.read(_choice(_call(1, "{")))) == [(0, "tool_calls.1.function.arguments", "{")]


def test_g3_a_tool_call_begins_with_empty_arguments() -> None:
    delta = _call(0, "", id="call_1", type="function")
    read = AnswerChannels().read(_choice(delta))
    assert _named(read) == [(0, "tool_calls.0.function.arguments", "")]
    filled = read.filled([""])
    assert filled is not None
    assert json.loads(bytes(filled))["delta"] == delta


def test_g3_a_channel_is_the_same_object_in_each_delta() -> None:
    channels = AnswerChannels()
    first, second = (channels.read(_choice(_call(0, text))).channels for text in ('{"a', '":1}'))
    assert first == second
    assert first[0] is second[0]
    assert first[0].json_text
    assert not CONTENT.json_text


@pytest.mark.parametrize(
    "delta",
    [
        {"audio": {"id": "audio_1", "data": "QUJD" * 20}},
        {
            "reasoning_details": [
                {"type": "reasoning.encrypted", "data": "QUJD" * 20, "id": "r1", "signature": "QUJD" * 20}
            ]
        },
        {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}]},
    ],
)
def test_g3_ids_names_signatures_and_encoded_data_pass_unchanged(delta: dict[str, Any]) -> None:
    read = AnswerChannels().read(_choice(delta))
    assert read.texts == []
    filled = read.filled([])
    assert filled is not None
    assert json.loads(bytes(filled))["delta"] == delta


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "data: to ann@a.example"},
        {"content": "data:image/png;base64,QUJD"},
        {"reasoning_content": "data:image/png;base64,QUJD"},
        {"images": [{"type": "image_url", "image_url": {"url": "data: to ann@a.example"}}]},
        {"images": [{"type": "image_url", "image_url": {"url": "data:text/plain,ann@a.example"}}]},
        {"audio": {"data": "4111111111111111"}},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "to ann@a.example"}]},
    ],
)
@pytest.mark.parametrize("index", [0, 1])
def test_g3_text_that_looks_like_a_data_url_is_read(delta: dict[str, Any], index: int) -> None:
    assert len(AnswerChannels().read(_choice(delta, index)).texts) == 1
    choice = {"index": index, "message": delta}
    assert len(WholeAnswer(json.dumps({"choices": [choice]}).encode()).texts) == 1


@pytest.mark.parametrize(
    ("delta", "name"),
    [
        ({"function_call": {"arguments": "x"}}, "function_call.arguments"),
        ({"tool_calls": [{"index": 2, "custom": {"input": "x"}}]}, "tool_calls.2.custom.input"),
        ({"audio": {"transcript": "x"}}, "audio.transcript"),
        ({"content": [{"type": "text", "text": "x"}]}, "content.0.text"),
        (
            {"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "x"}]},
            "reasoning_details.0.text",
        ),
    ],
)
def test_g3_a_text_is_replaced_in_its_place_and_can_follow_alone(delta: dict[str, Any], name: str) -> None:
    channels = AnswerChannels()
    read = channels.read(_choice(delta))
    assert _named(read) == [(0, name, "x")]
    filled = read.filled(["é"])
    assert filled is not None
    expected = json.loads(json.dumps(delta).replace('"x"', '"é"'))
    assert json.loads(bytes(filled))["delta"] == expected
    (alone,) = channels.alone(read.channels[0], "é").choices
    assert json.loads(bytes(alone)) == {"index": 0, "delta": expected, "finish_reason": None}


def test_g3_the_text_of_choice_0_follows_as_text() -> None:
    delta = AnswerChannels().alone(CONTENT, "rest")
    assert (delta.text, delta.choices) == ("rest", ())


def test_g3_a_choice_of_which_all_text_is_held_back_is_not_sent() -> None:
    channels = AnswerChannels()
    held = channels.read(
        _choice({"role": "assistant", "content": "anna@"}, 1, finish_reason=None, logprobs=None)
    )
    assert held.filled([""]) is None
    first = channels.read(_choice(_call(0, '{"to"', id="call_1", type="function")))
    filled = first.filled([""])
    assert filled is not None
    assert json.loads(bytes(filled))["delta"] == _call(0, "", id="call_1", type="function")


def test_g3_log_probabilities_and_token_ids_repeat_the_text_and_are_dropped() -> None:
    probabilities = {"content": [{"token": "anna", "logprob": -0.1, "bytes": [97], "top_logprobs": []}]}
    assert AnswerChannels().read(_choice({}, logprobs=probabilities, token_ids=[1, 2])).filled([]) is None


def test_g3_a_choice_tells_that_it_ends() -> None:
    channels = AnswerChannels()
    assert not channels.read(_choice({"content": "a"}, 1, finish_reason=None)).ends
    last = channels.read(_choice({"content": "a"}, 1, finish_reason="stop"))
    assert last.ends
    assert last.choice == 1
    assert last.filled([""]) is not None


def test_g3_sources_and_arguments_as_objects_are_complete() -> None:
    source = {"type": "url_citation", "url_citation": {"url": "https://x/y", "title": "T", "start_index": 3}}
    read = AnswerChannels().read(_choice({"annotations": [source], **_call(0, {"to": "anna"})}))
    assert read.texts == ["https://x/y", "T", "anna"]
    assert all(channel.complete for channel in read.channels)
    assert not CONTENT.complete


def test_g3_an_index_of_an_unexpected_type_is_the_position() -> None:
    channels = AnswerChannels()
    calls = [{"index": [], "function": {"arguments": "a"}}, {"index": {}, "function": {"arguments": "b"}}]
    read = channels.read(Raw(json.dumps({"index": [1], "delta": {"tool_calls": calls}}).encode()))
    assert _named(read) == [
        (0, "tool_calls.0.function.arguments", "a"),
        (0, "tool_calls.1.function.arguments", "b"),
    ]
    assert channels.alone(read.channels[1], "rest").choices


@pytest.mark.parametrize("choice", [b"[]", b"7", b"{", b'{"delta":' + b"[" * 5_000 + b"]" * 5_000 + b"}"])
def test_g3_what_is_no_choice_raises(choice: bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        AnswerChannels().read(Raw(choice))


BODY: dict[str, Any] = {
    "id": "chatcmpl-1",
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "one",
                "reasoning": "two",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            "logprobs": {"content": []},
            "finish_reason": "stop",
        },
        {"index": 1, "message": {"role": "assistant", "content": [{"type": "text", "text": "three"}]}},
    ],
    "usage": {"completion_tokens": 3},
}


def test_g3_a_whole_answer_is_filtered_like_a_stream() -> None:
    body = json.dumps(BODY).encode()
    answer = WholeAnswer(body)
    assert answer.texts == ["one", "two", "{}", "three"]
    assert [channel.json_text for channel in answer.channels] == [False, False, True, False]
    changed = json.loads(answer.filled(["1", "2", "3", "4"]))
    expected = json.loads(json.dumps(BODY).replace('"one"', '"1"').replace('"two"', '"2"'))
    expected = json.loads(json.dumps(expected).replace('"{}"', '"3"').replace('"three"', '"4"'))
    del expected["choices"][0]["logprobs"]
    assert changed == expected


def test_g3_a_whole_answer_without_log_probabilities_keeps_its_bytes() -> None:
    body = json.dumps(BODY).replace('"logprobs": {"content": []}', '"logprobs": null').encode()
    answer = WholeAnswer(body)
    assert answer.filled(answer.texts) is body


def test_g3_log_probabilities_of_a_whole_answer_are_left_out() -> None:
    choices = [{"message": {"content": "a"}, "logprobs": {"content": [{"token": "a"}]}, "token_ids": [1]}]
    answer = WholeAnswer(json.dumps({"choices": choices, "prompt_logprobs": [{}], "created": 1}).encode())
    assert answer.texts == ["a"]
    assert json.loads(answer.filled(["a"])) == {"choices": [{"message": {"content": "a"}}], "created": 1}


@pytest.mark.parametrize(
    "place",
    [
        {"citations": ["TEXT"]},
        {"search_results": [{"title": "TEXT"}]},
        {"system_fingerprint": "TEXT"},
        {"id": "TEXT"},
        {"odd": {"er": "TEXT"}},
        {"TEXT": 1},
        {"choices": ["TEXT"]},
        {"choices": "TEXT"},
        *(
            {"choices": [{"message": {"content": None}, **choice}]}
            for choice in (
                {"stop_reason": "TEXT"},
                {"finish_reason": "TEXT"},
                {"content_filter_results": {"a": {"severity": "TEXT"}}},
                {"error": {"message": "TEXT"}},
                {"TEXT": {}},
            )
        ),
        *(
            {"choices": [{"message": message}]}
            for message in (
                *({name: "TEXT"} for name in ("name", "role", "status", "data", "type", "signature")),
                {"tool_calls": [{"function": {"name": "TEXT"}}]},
                {"tool_calls": [{"id": "TEXT"}]},
                {"tool_calls": [{"function": {"arguments": {"TEXT": 1}}}]},
                {"tool_calls": [{"function": {"arguments": {"deep": [{"TEXT": 1}]}}}]},
            )
        ),
    ],
)
def test_g3_every_part_of_a_whole_answer_is_read_and_replaced(place: dict[str, Any]) -> None:
    text = "to ann@a.example"
    body = json.dumps(place).replace("TEXT", text).encode()
    answer = WholeAnswer(body)
    assert answer.texts == [text]
    assert answer.filled([text]) is body
    changed = json.loads(answer.filled(["to [EMAIL_1]"]))
    assert changed == json.loads(json.dumps(place).replace("TEXT", "to [EMAIL_1]"))


def test_g3_other_fields_of_an_answer_keep_their_bytes() -> None:
    body = b'{"citations":["ann@a.example"],"big":12345678901234567890123, "real":1.0e0}'
    assert WholeAnswer(body).filled(["[EMAIL_1]"]) == (
        b'{"citations":["[EMAIL_1]"],"big":12345678901234567890123,"real":1.0e0}'
    )


def test_g3_the_parts_of_a_streamed_choice_beside_its_texts_are_read_too() -> None:
    channels = AnswerChannels()
    call = _call(0, "{", type="function", id="call_1")
    call["tool_calls"][0]["function"]["name"] = "ann@a.example"
    read = channels.read(_choice(call, stop_reason="ann@b.example"))
    assert read.texts == ["{", "ann@a.example", "ann@b.example"]
    assert [channel.complete for channel in read.channels] == [False, True, True]
    filled = read.filled(["{", "[EMAIL_1]", "[EMAIL_2]"])
    assert filled is not None
    assert json.loads(bytes(filled))["delta"]["tool_calls"][0]["function"]["name"] == "[EMAIL_1]"


def test_d6_an_answer_of_too_many_texts_is_oversized() -> None:
    channels = AnswerChannels()
    for index in range(999):
        channels.read(_choice(_call(index, "{")))
    with pytest.raises(ProviderFailure, match="more than 1,000 texts"):
        channels.read(_choice(_call(999, "{")))
    message = {"content": [{"text": "a"}] * 20_001}
    with pytest.raises(ProviderFailure, match="more than 20,000 texts"):
        WholeAnswer(json.dumps({"choices": [{"message": message}]}).encode())


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"choices":7}', b'{"choices":[1,null,{"message":5}]}'])
def test_g3_an_answer_of_unexpected_types_has_no_texts(body: bytes) -> None:
    answer = WholeAnswer(body)
    assert answer.texts == []
    assert answer.filled([]) == body
