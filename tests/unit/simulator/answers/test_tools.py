import json
from typing import Any

import msgspec
import pytest

from services.simulator.answers.chat import Answer, compose
from services.simulator.answers.requests import CompletionRequest

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def function(name: str, parameters: Any = CITY) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = [function("get_weather"), function("currentTime"), function("final_result")]
WEATHER = "What is the weather in Rome?"
BOTH = "What time is it in Rome, and how is the weather?"


def answer(question: str, *later: dict[str, Any], **options: Any) -> Answer:
    messages = [{"role": "user", "content": question}, *later]
    body = {"model": "m", "messages": messages, "tools": TOOLS, **options}
    request = msgspec.convert(body, CompletionRequest)
    return compose("m", request, request.measure(), 1)


def called(question: str, *later: dict[str, Any], **options: Any) -> list[str]:
    return [call.name for call in answer(question, *later, **options).calls]


def call_and_result(name: str, result: str = "21 degrees") -> list[dict[str, Any]]:
    call = {"id": "1", "type": "function", "function": {"name": name, "arguments": "{}"}}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": result},
    ]


@pytest.mark.parametrize(
    ("question", "names"),
    [
        (WEATHER, ["get_weather"]),
        (BOTH, ["get_weather", "currentTime"]),
        ("Call final_result.", ["final_result"]),
        ("How do I get there?", []),
    ],
)
def test_auto_calls_the_functions_that_the_question_mentions(question: str, names: list[str]):
    assert called(question) == called(question, tool_choice="auto") == names


def test_no_function_is_called_with_tool_choice_none_or_without_tools():
    assert called(WEATHER, tool_choice="none") == called(WEATHER, tools=None) == []


def test_parallel_calls_can_be_forbidden():
    assert called(BOTH, parallel_tool_calls=False) == ["get_weather"]
    later = call_and_result("get_weather")
    assert called(BOTH, *later, parallel_tool_calls=False) == ["currentTime"]


def test_a_tool_result_is_answered_with_text_that_repeats_it():
    whole = answer(WEATHER, *call_and_result("get_weather"))
    assert (whole.calls, whole.finish_reason) == ((), "stop")
    assert "21 degrees" in "".join(whole.content)


def test_a_new_question_may_call_the_same_function_again():
    later = [*call_and_result("get_weather"), {"role": "user", "content": "And the weather in Oslo?"}]
    assert called(WEATHER, *later) == ["get_weather"]


def test_required_calls_what_is_mentioned_else_the_first_that_was_not_called():
    assert called("Hello", tool_choice="required") == ["get_weather"]
    assert called("Tell me the time", tool_choice="required") == ["currentTime"]
    later = call_and_result("get_weather")
    assert called(WEATHER, *later, tool_choice="required") == ["currentTime"]
    everything = [message for tool in TOOLS for message in call_and_result(tool["function"]["name"])]
    assert called("Hello", *everything, tool_choice="required") == ["get_weather"]


def test_a_named_function_is_called_whatever_the_question_is():
    choice = {"type": "function", "function": {"name": "final_result"}}
    assert called(WEATHER, tool_choice=choice) == ["final_result"]
    assert called(WEATHER, *call_and_result("final_result"), tool_choice=choice) == ["final_result"]


@pytest.mark.parametrize(("mode", "names"), [("auto", []), ("required", ["final_result"])])
def test_allowed_tools_leave_the_others_out(mode: str, names: list[str]):
    allowed = {"mode": mode, "tools": [{"type": "function", "function": {"name": "final_result"}}]}
    assert called(WEATHER, tool_choice={"type": "allowed_tools", "allowed_tools": allowed}) == names


def test_each_call_has_an_id_of_its_own_and_complete_arguments():
    whole = answer(BOTH)
    assert len({call.id for call in whole.calls}) == 2
    assert all(set(json.loads("".join(call.arguments))) == {"city"} for call in whole.calls)


def test_a_function_without_parameters_is_called_with_an_empty_object():
    for parameters in (None, {}, {"type": "object", "properties": {}}):
        (call,) = answer(WEATHER, tools=[function("weather", parameters)]).calls
        assert "".join(call.arguments) == "{}"


def test_the_token_limit_cuts_the_arguments():
    whole = answer(BOTH)
    for limit in range(1, whole.tokens):
        cut = answer(BOTH, max_tokens=limit)
        assert (cut.tokens, cut.finish_reason) == (limit, "length")


@pytest.mark.parametrize(
    "tools", [[{}], [{"type": "function"}], [{"type": "custom", "custom": {"name": "x"}}]]
)
def test_tools_without_a_function_are_ignored(tools: list[dict[str, Any]]):
    assert called(WEATHER, tools=tools, tool_choice="required") == []
