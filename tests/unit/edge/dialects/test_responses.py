"""K2: answers of the Responses dialect have the shapes of OpenAI's SDK, whole and streamed."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from penstock.contract.reply import Delta, Failure
from services.edge.dialects.dialect import AnswerError, ChatCall
from services.edge.dialects.responses import ResponsesDialect
from tests.unit.edge.dialects.responses_answers import (
    CREATED_S,
    ID,
    accumulated,
    call,
    choices,
    completed,
    started,
    streamed,
    strict_events,
    strict_response,
    text,
    tool_call,
    whole,
)

TOOLS = [
    {
        "type": "function",
        "name": "weather",
        "parameters": {"type": "object"},
        "strict": True,
        "description": "w",
    }
]
REPEATED: dict[str, Any] = {
    "instructions": "Be short.",
    "max_output_tokens": 100,
    "max_tool_calls": 3,
    "metadata": {"order": "7"},
    "parallel_tool_calls": False,
    "prompt_cache_key": "k",
    "reasoning": {"effort": "low", "summary": "auto"},
    "safety_identifier": "s",
    "service_tier": "flex",
    "store": True,
    "temperature": 0.5,
    "text": {
        "format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True},
        "verbosity": "low",
    },
    "tool_choice": {"type": "function", "name": "weather"},
    "tools": TOOLS,
    "top_logprobs": 2,
    "top_p": 0.25,
    "truncation": "disabled",
    "user": "u",
    "background": True,
}


def failure(code: Any = "overloaded") -> Failure:
    return Failure(code=code, message="Too much to do; try again in 3 s.", retry="later", retry_after_s=3)


def types(events: list[Any]) -> list[str]:
    return [event.type.removeprefix("response.") for event in events]


def test_a_whole_text_is_a_message():
    response = whole(completed(message={"content": "Good day."}))
    assert response.output_text == "Good day."
    assert (response.id, response.created_at, response.completed_at) == (ID, CREATED_S, CREATED_S + 3)
    assert (response.status, response.model, response.error) == ("completed", "last-model", None)
    [message] = response.output
    assert (message.type, message.status) == ("message", "completed")


def test_usage_has_all_counts():
    usage = whole(completed(message={"content": "x"})).usage
    assert usage is not None
    assert usage.model_dump(exclude_none=True) == {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 16, "cache_write_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 27,
    }


def test_reasoning_refusal_and_calls_of_a_whole_answer():
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Ankara"}'}}
    ]
    message = {"reasoning": "hm", "content": "Maybe.", "refusal": "No.", "tool_calls": calls}
    reasoning, answer, weather = whole(completed("tool_calls", message)).output
    assert reasoning.type == "reasoning"
    assert [part.text for part in reasoning.content or ()] == ["hm"]
    assert answer.type == "message"
    assert [part.type for part in answer.content] == ["output_text", "refusal"]
    assert weather.type == "function_call"
    assert (weather.call_id, weather.name, weather.arguments) == ("c1", "weather", '{"city":"Ankara"}')
    assert [reasoning.id, answer.id, weather.id] == ["rs_0199_0", "msg_0199_1", "fc_0199_2"]


@pytest.mark.parametrize(
    ("finish_reason", "reason"),
    [
        ("length", "max_output_tokens"),
        ("MAX_TOKENS", "max_output_tokens"),
        ("model_length", "max_output_tokens"),
        ("content_filter", "content_filter"),
        ("CONTENT_FILTER", "content_filter"),
        ("SAFETY", "content_filter"),
        ("incomplete", None),
        ("other", None),
    ],
)
def test_a_shortened_answer_is_incomplete_and_says_why(finish_reason: str, reason: str | None):
    events = strict_events(streamed([text("Half a")], completed(finish_reason)))
    assert types(events)[-2:] == ["output_item.done", "incomplete"]
    for response in (events[-1].response, whole(completed(finish_reason, {"content": "Half a"}))):
        assert (response.status, response.incomplete_details.reason) == ("incomplete", reason)
        assert (response.output_text, response.output[0].status) == ("Half a", "incomplete")


@pytest.mark.parametrize("finish_reason", ["stop", "STOP", "eos", "COMPLETE", "tool_calls"])
def test_a_whole_answer_is_completed_in_the_words_of_any_provider(finish_reason: str):
    response = whole(completed(finish_reason, {"content": "Whole."}))
    assert (response.status, response.incomplete_details) == ("completed", None)


def test_only_the_last_item_of_a_shortened_answer_is_incomplete():
    deltas = [text("Two."), choices(tool_call(0, "a", "f", "{}")), choices(tool_call(1, "b", "f", "{"))]
    output = strict_events(streamed(deltas, completed("length")))[-1].response.output
    assert [item.status for item in output] == ["completed", "completed", "incomplete"]


def test_a_shortened_answer_may_be_empty():
    assert whole(completed("length")).output == []


@pytest.mark.parametrize("before", [[], [choices({"reasoning": "Nothing to say."})]])
def test_a_complete_answer_without_text_has_an_empty_message(before: list[Delta]):
    response = strict_events(streamed(before, completed()))[-1].response
    assert (response.output_text, response.output[-1].content[0].text) == ("", "")


def test_the_events_of_a_streamed_text():
    events = strict_events(streamed([text("Good "), text("day.")], completed()))
    assert types(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event.response.model for event in (events[0], events[-1])] == ["first-model", "last-model"]
    assert [event.response.status for event in (*events[:2], events[-1])] == ["in_progress"] * 2 + [
        "completed"
    ]
    assert events[-1].response == whole(completed(message={"content": "Good day."}))


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_ends_before_the_text_begins(name: str):
    deltas = [choices({name: "a"}), choices({name: "b", "reasoning_details": [{"text": "b"}]}), text("c")]
    events = strict_events(streamed(deltas, completed()))
    assert types(events)[2:11] == [
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
    ]
    assert events[6].text == "ab"


def test_reasoning_sent_under_two_names_is_written_once():
    assert (
        whole(completed(message={"reasoning": "a", "reasoning_content": "a"})).output[0].content[0].text
        == "a"
    )


def test_reasoning_in_content_parts_is_reasoning():
    content = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "Yes"},
    ]
    response = whole(completed(message={"content": content}))
    assert response.output[0].content[0].text == "hm"
    assert response.output_text == "Yes"
    events = strict_events(streamed([choices({"content": content[:1]}), text("Yes")], completed()))
    assert events[-1].response == response


def test_a_refusal_after_text_is_a_second_part_of_the_message():
    events = strict_events(
        streamed([text("Well, "), choices({"refusal": "no"}), choices({"refusal": "."})], completed())
    )
    assert types(events)[5:11] == [
        "output_text.done",
        "content_part.done",
        "content_part.added",
        "refusal.delta",
        "refusal.delta",
        "refusal.done",
    ]
    assert events[10].refusal == "no."


def test_pieces_of_parallel_calls_may_come_in_turn():
    deltas = [
        choices(tool_call(0, "a", "f", '{"x":')),
        choices(tool_call(1, "b", "g"), tool_call(0, arguments="1}"), tool_call(1, arguments='{"y":2}')),
    ]
    events = strict_events(streamed(deltas, completed("tool_calls")))
    first, second = events[-1].response.output
    assert (first.call_id, first.name, first.arguments) == ("a", "f", '{"x":1}')
    assert (second.call_id, second.name, second.arguments) == ("b", "g", '{"y":2}')
    assert types(events)[2:5] == ["output_item.added", "function_call_arguments.delta", "output_item.added"]


def test_text_ends_before_a_call_and_may_follow_it():
    deltas = [text("Let me look."), choices(tool_call(0, "a", "f", "{}")), text("Done.")]
    output = strict_events(streamed(deltas, completed()))[-1].response.output
    assert [item.type for item in output] == ["message", "function_call", "message"]


@pytest.mark.parametrize("index", [0, None])
def test_calls_with_one_index_are_told_apart_by_their_ids(index: int | None):
    """Gemini sends 0 for each of several calls, or no index."""
    deltas = [choices(tool_call(index, "a", "f", "{}")), choices(tool_call(index, "b", "f", '{"x":1}'))]
    output = strict_events(streamed(deltas, completed()))[-1].response.output
    assert [(item.call_id, item.arguments) for item in output] == [("a", "{}"), ("b", '{"x":1}')]


def test_further_pieces_of_a_call_may_repeat_its_id_and_name():
    deltas = [choices(tool_call(0, "a", "f", "{")), choices(tool_call(0, "a", "f", "}"))]
    [item] = strict_events(streamed(deltas, completed()))[-1].response.output
    assert item.arguments == "{}"


def test_further_pieces_without_index_and_id_belong_to_the_last_call():
    deltas = [choices(tool_call(None, "a", "f", "{")), choices(tool_call(None, arguments="}"))]
    [item] = strict_events(streamed(deltas, completed()))[-1].response.output
    assert (item.call_id, item.arguments) == ("a", "{}")


def test_calls_without_index_and_id_are_told_apart_by_their_names():
    deltas = [choices(tool_call(None, None, "f", "{}")), choices(tool_call(None, None, "g", "{}"))]
    output = strict_events(streamed(deltas, completed()))[-1].response.output
    assert [(item.name, item.arguments) for item in output] == [("f", "{}"), ("g", "{}")]


@pytest.mark.parametrize(("first", "second"), [("a", None), (None, "a")])
def test_a_call_is_announced_with_its_name(first: str | None, second: str | None):
    deltas = [
        choices(tool_call(0, first, arguments="{")),
        choices(tool_call(0, second, name="f", arguments="}")),
    ]
    events = strict_events(streamed(deltas, completed()))
    assert (events[2].item.name, events[2].item.call_id, events[3].delta) == ("f", "a", "{}")


@pytest.mark.parametrize("call_id", ["", "same"])
def test_call_ids_of_one_response_differ(call_id: str):
    """A result names its call by this id; the SDK refuses two calls with one."""
    deltas = [choices(tool_call(index, call_id, "f", "{}")) for index in (0, 1)]
    events = strict_events(streamed(deltas, completed()))
    ids = [item.call_id for item in events[-1].response.output]
    assert len(set(ids)) == 2
    assert all(ids)
    calls = [{"id": call_id, "function": {"name": "f", "arguments": "{}"}} for _ in (0, 1)]
    assert [item.call_id for item in whole(completed(message={"tool_calls": calls})).output] == ids


@pytest.mark.parametrize(("arguments", "written"), [("", "{}"), ({"x": 1}, '{"x":1}'), (None, "{}")])
def test_arguments_of_a_complete_call_are_json(arguments: Any, written: str):
    events = strict_events(streamed([choices(tool_call(0, "a", "f", arguments))], completed()))
    assert events[-1].response.output[0].arguments == written


def test_a_call_that_was_cut_before_its_arguments_has_none():
    [item] = strict_events(streamed([choices(tool_call(0, "a", "f"))], completed("length")))[
        -1
    ].response.output
    assert (item.arguments, item.status) == ("", "incomplete")


def test_log_probabilities_go_with_their_text():
    token = {
        "token": "Hi",
        "logprob": -0.25,
        "bytes": [72, 105],
        "top_logprobs": [{"token": "Ho", "logprob": -3}],
    }
    logprobs = {"content": [token, {"token": "!", "logprob": -1.5, "bytes": None}]}
    deltas = [choices({}, logprobs=logprobs), text("Hi!"), text(" You.")]
    events = strict_events(streamed(deltas, completed()))
    assert [len(event.logprobs) for event in events[4:7]] == [2, 0, 2]
    assert events[4].logprobs[0].logprob == -0.25
    response = events[-1].response
    assert response.output[0].content[0].logprobs[0].top_logprobs[0].bytes == []
    assert response == whole(completed(message={"content": "Hi! You."}, logprobs=logprobs))


def test_log_probabilities_after_the_text_are_in_its_part():
    logprobs = {"content": [{"token": "Hi", "logprob": 0, "bytes": [], "top_logprobs": []}]}
    events = strict_events(streamed([text("Hi"), choices({}, logprobs=logprobs)], completed()))
    assert len(events[-1].response.output[0].content[0].logprobs) == 1


def test_a_failure_ends_the_stream_without_a_proper_end():
    events = strict_events(streamed([text("Half")], failure()))
    assert types(events)[-2:] == ["output_text.delta", "failed"]
    response = events[-1].response
    assert (response.status, response.output, response.usage) == ("failed", [], None)
    assert (response.error.code, response.error.type) == ("rate_limit_exceeded", "overloaded")
    assert response.error.message == "Too much to do; try again in 3 s."
    assert accumulated(events) is None


@pytest.mark.parametrize(
    ("code", "expected"), [("internal", "server_error"), ("content_filtered", "invalid_prompt")]
)
def test_failures_have_codes_of_the_sdk(code: str, expected: str):
    events = strict_events(streamed([], failure(code)))
    assert (types(events)[-1], events[-1].response.error.code) == ("failed", expected)


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_e4_a_response_in_the_background_has_a_status_and_no_output(status: Any):
    response = strict_response(ResponsesDialect().unfinished(ID, CREATED_S, call(background=True), status))
    assert (response.status, response.output, response.model) == (status, [], "auto")
    assert response.background is True
    assert response.store is True


def test_e4_a_response_that_failed_in_the_background_has_an_error():
    response = strict_response(ResponsesDialect().failed(ID, CREATED_S, call(), failure()))
    assert response.error is not None
    assert (response.status, response.error.code) == ("failed", "rate_limit_exceeded")


def test_d8_a_response_that_was_cancelled_has_no_error():
    response = strict_response(ResponsesDialect().failed(ID, CREATED_S, call(), failure("cancelled")))
    assert (response.status, response.error) == ("cancelled", None)


def test_a_response_repeats_its_request():
    body = ResponsesDialect().whole(ID, CREATED_S, call(**REPEATED), completed(message={"content": "x"}))
    strict_response(body)
    assert {name: json.loads(body)[name] for name in REPEATED} == REPEATED


def test_absent_fields_have_the_defaults_of_the_api():
    body = json.loads(ResponsesDialect().whole(ID, CREATED_S, call(), completed(message={"content": "x"})))
    assert body["tools"] == []
    assert (body["tool_choice"], body["parallel_tool_calls"], body["store"]) == ("auto", True, False)
    assert body["text"] == {"format": {"type": "text"}}


def test_a_call_without_repeated_fields_gives_a_valid_response():
    plain = ChatCall(body=Raw(b"{}"), model="auto")
    strict_response(ResponsesDialect().whole(ID, CREATED_S, plain, completed(message={"content": "x"})))


def test_other_choices_than_the_first_are_no_part_of_a_response():
    events = strict_events(
        streamed([choices({"content": "x", "refusal": "x"}, index=1), text("Yes")], completed())
    )
    assert events[-1].response.output_text == "Yes"


def test_the_first_choice_of_a_whole_answer_is_the_one_with_index_0():
    bodies = [{"index": index, "message": {"content": f"choice {index}"}} for index in (1, 0)]
    end = msgspec.structs.replace(completed(), response=Raw(json.dumps({"choices": bodies}).encode()))
    assert whole(end).output_text == "choice 0"


@pytest.mark.parametrize(
    "delta",
    [
        b"[]",
        b"7",
        b'{"delta":[]}',
        b'{"delta":{"tool_calls":{"index":0},"reasoning":7,"refusal":[],"content":[{"type":"image"},8]}}',
        b'{"delta":{"tool_calls":[{},null,{"index":0,"function":{}}]}}',
        b'{"delta":{},"logprobs":{"content":[7,{"token":"x"},{"token":"x","logprob":true}]}}',
        b'{"delta":{},"logprobs":{"content":[{"token":"x","logprob":0,"bytes":["x",true],"top_logprobs":[8]}]}}',
        b'{"delta":{"reasoning":1e999}}',
        b'{"delta":' + b"[" * 100_000,
    ],
)
def test_a_piece_of_another_shape_is_left_out(delta: bytes):
    odd = Delta(id="r", seq=1_000_001, choices=(Raw(delta),))
    response = strict_events(streamed([text("Yes"), odd], completed()))[-1].response
    assert [item.type for item in response.output] == ["message"]
    assert response.output_text == "Yes"


def test_the_same_reply_events_give_the_same_bytes():
    deltas = [choices({"reasoning": "a"}), text("b"), choices(tool_call(0, "", "f", "{}"))]
    assert streamed(deltas, completed()) == streamed(deltas, completed())


def test_a_stream_that_did_not_begin_can_fail():
    stream = ResponsesDialect().stream(ID, CREATED_S, call())
    [event] = strict_events(stream.fail(AnswerError.of(failure())))
    assert (event.type, event.response.model) == ("response.failed", "auto")


def test_a_stream_that_began_names_the_model_of_the_last_start():
    stream = ResponsesDialect().stream(ID, CREATED_S, call())
    events = strict_events(stream.begin(started("a-model")) + stream.fail(AnswerError.of(failure())))
    assert events[-1].response.model == "a-model"


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "invalid_request_error"), (429, "rate_limit_error"), (503, "server_error")]
)
def test_error_bodies_have_the_shape_of_openai(status: int, kind: str):
    body = ResponsesDialect().error(AnswerError("some_code", "What happened.", status), "input[2].content")
    assert json.loads(body) == {
        "error": {"message": "What happened.", "type": kind, "param": "input[2].content", "code": "some_code"}
    }
