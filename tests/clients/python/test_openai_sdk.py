"""OpenAI's SDK for Python."""

from __future__ import annotations

import enum
import json
from typing import Any

import openai
import pytest
from conftest import BASE_URL, KEY
from pydantic import BaseModel, Field

QUESTION = "Why is the sky blue?"
ASKED: Any = [{"role": "user", "content": QUESTION}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"type": "function", "function": {"name": "get_weather", "parameters": CITY}}
TIME: Any = {"type": "function", "function": {"name": "get_time", "parameters": CITY}}
BOTH: Any = [{"role": "user", "content": "What is the weather, and what time is it in Rome?"}]
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Unit(enum.StrEnum):
    CELSIUS = "celsius"
    FAHRENHEIT = "fahrenheit"


class Day(BaseModel):
    date: str
    degrees: float = Field(ge=-90, le=60)


class Forecast(BaseModel):
    """The weather of several days."""

    city: str
    unit: Unit
    days: list[Day] = Field(min_length=2)
    note: str | None


def test_a_whole_answer(ai: openai.OpenAI):
    raw = ai.chat.completions.with_raw_response.create(model="chat", messages=ASKED)
    answer = raw.parse()
    assert QUESTION in (answer.choices[0].message.content or "")
    assert (answer.model, answer.object, answer.choices[0].finish_reason) == (
        "m-chat",
        "chat.completion",
        "stop",
    )
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer._request_id == raw.headers["x-penstock-request-id"]


async def test_a_whole_answer_of_the_asynchronous_client(ai: openai.OpenAI):
    whole = ai.chat.completions.create(model="chat", messages=ASKED)
    async with openai.AsyncOpenAI(base_url=BASE_URL, api_key=KEY) as client:
        answer = await client.chat.completions.create(model="chat", messages=ASKED)
    assert answer.choices[0].message.content == whole.choices[0].message.content


def test_a_stream_gives_the_whole_answer_and_its_usage(ai: openai.OpenAI):
    whole = ai.chat.completions.create(model="chat", messages=ASKED)
    chunks = list(
        ai.chat.completions.create(
            model="chat", messages=ASKED, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert len(chunks) > 3
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_events_of_the_stream_helper(ai: openai.OpenAI):
    with ai.chat.completions.stream(model="chat", messages=ASKED) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= set(kinds)
    assert QUESTION in (final.choices[0].message.content or "")


@pytest.mark.parametrize("stream", [False, True])
def test_parallel_tool_calls_have_complete_arguments(ai: openai.OpenAI, *, stream: bool):
    asked: Any = {"model": "chat", "messages": BOTH, "tools": [WEATHER, TIME]}
    if stream:
        with ai.chat.completions.stream(**asked) as events:
            done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
            answer: Any = events.get_final_completion()
        assert [event.name for event in done] == ["get_weather", "get_time"]
    else:
        answer = ai.chat.completions.create(**asked)
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert [call.function.name for call in choice.message.tool_calls] == ["get_weather", "get_time"]
    assert all(set(json.loads(call.function.arguments)) == {"city"} for call in choice.message.tool_calls)
    assert len({call.id for call in choice.message.tool_calls}) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_result_is_answered_with_text(ai: openai.OpenAI, *, stream: bool):
    first = ai.chat.completions.create(model="chat", messages=BOTH, tools=[WEATHER])
    message = first.choices[0].message
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"}
        for call in message.tool_calls or []
    ]
    asked: Any = {"model": "chat", "messages": [*BOTH, message, *results], "tools": [WEATHER]}
    if stream:
        with ai.chat.completions.stream(**asked) as events:
            answer: Any = events.get_final_completion()
    else:
        answer = ai.chat.completions.create(**asked)
    assert "21 degrees" in answer.choices[0].message.content
    assert not answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    "choice", ["none", "auto", "required", {"type": "function", "function": {"name": "get_time"}}]
)
def test_the_tool_choice_is_obeyed(ai: openai.OpenAI, choice: Any):
    answer = ai.chat.completions.create(
        model="chat", messages=ASKED, tools=[WEATHER, TIME], tool_choice=choice
    )
    names = [
        call.function.name for call in answer.choices[0].message.tool_calls or [] if call.type == "function"
    ]
    assert names == {"none": [], "auto": [], "required": ["get_weather"]}.get(str(choice), ["get_time"])


def test_a_structured_answer_is_parsed(ai: openai.OpenAI):
    answer = ai.chat.completions.parse(model="chat", messages=ASKED, response_format=Forecast)
    parsed = answer.choices[0].message.parsed
    assert parsed is not None
    assert len(parsed.days) >= 2
    with ai.chat.completions.stream(model="chat", messages=ASKED, response_format=Forecast) as stream:
        streamed = stream.get_final_completion().choices[0].message.parsed
    assert streamed == parsed


def test_arguments_of_a_strict_tool_are_parsed(ai: openai.OpenAI):
    tool = openai.pydantic_function_tool(Forecast)
    answer = ai.chat.completions.parse(model="chat", messages=ASKED, tools=[tool], tool_choice="required")
    (call,) = answer.choices[0].message.tool_calls or []
    assert isinstance(call.function.parsed_arguments, Forecast)


def test_json_mode_gives_an_object(ai: openai.OpenAI):
    answer = ai.chat.completions.create(
        model="chat",
        messages=[{"role": "user", "content": "As JSON with 'cause' and 'effect'."}],
        response_format={"type": "json_object"},
    )
    assert set(json.loads(answer.choices[0].message.content or "")) == {"cause", "effect"}


def test_several_choices_whole_and_streamed(ai: openai.OpenAI):
    whole = ai.chat.completions.create(model="chat", messages=ASKED, n=3)
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    texts = [choice.message.content for choice in whole.choices]
    assert len(set(texts)) == 3
    with ai.chat.completions.stream(model="chat", messages=ASKED, n=3) as stream:
        streamed = stream.get_final_completion()
    assert [choice.message.content for choice in streamed.choices] == texts
    assert [choice.finish_reason for choice in streamed.choices] == ["stop"] * 3


def test_logprobs_whole_and_streamed(ai: openai.OpenAI):
    asked: Any = {"model": "chat", "messages": ASKED, "logprobs": True, "top_logprobs": 2}
    whole = ai.chat.completions.create(**asked).choices[0]
    assert whole.logprobs is not None
    tokens = whole.logprobs.content or []
    assert "".join(token.token for token in tokens) == whole.message.content
    assert {len(token.top_logprobs) for token in tokens} == {2}
    with ai.chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion().choices[0]
    assert streamed.message.content == whole.message.content
    assert streamed.logprobs is not None
    assert streamed.logprobs.content == tokens


def test_a_seed_repeats_an_answer_and_a_stop_sequence_ends_it(ai: openai.OpenAI):
    one, same, other = (
        ai.chat.completions.create(model="chat", messages=ASKED, seed=seed).choices[0].message.content
        for seed in (1, 1, 2)
    )
    assert one == same != other
    stopped = ai.chat.completions.create(model="chat", messages=ASKED, seed=1, stop=["This is"])
    assert stopped.choices[0].message.content == (one or "").partition("This is")[0]


def test_reasoning_comes_before_the_answer(ai: openai.OpenAI):
    message: Any = ai.chat.completions.create(model="reasoning", messages=ASKED).choices[0].message
    assert message.reasoning_content
    deltas: list[Any] = [
        chunk.choices[0].delta
        for chunk in ai.chat.completions.create(model="reasoning", messages=ASKED, stream=True)
    ]
    thought = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    assert thought == message.reasoning_content
    assert "".join(delta.content or "" for delta in deltas) == message.content


def test_images_reach_the_model(ai: openai.OpenAI):
    content: Any = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
    ]
    answer = ai.chat.completions.create(model="vision", messages=[{"role": "user", "content": content}])
    assert "1 image" in (answer.choices[0].message.content or "")


def test_an_answer_can_be_retrieved_by_its_id(ai: openai.OpenAI):
    answer = ai.chat.completions.create(model="chat", messages=ASKED)
    assert ai.chat.completions.retrieve(answer.id) == answer


@pytest.mark.parametrize("encoding", [openai.NOT_GIVEN, "float", "base64"])
def test_vectors_of_texts_in_their_order(ai: openai.OpenAI, encoding: Any):
    texts = ["The pump starts at noon.", "Why is the sky blue?", "The pump starts at noon."]
    found = ai.embeddings.create(model="embed", input=texts, dimensions=64, encoding_format=encoding)
    assert [each.index for each in found.data] == [0, 1, 2]
    vectors = [each.embedding for each in found.data]
    if encoding == "base64":  # the SDK leaves to the application what it asked for
        assert all(isinstance(each, str) for each in vectors)
    else:
        assert [len(each) for each in vectors] == [64, 64, 64]
    assert vectors[0] == vectors[2] != vectors[1]


def test_an_empty_text_is_a_bad_request_that_names_it(ai: openai.OpenAI):
    with pytest.raises(openai.BadRequestError) as failed:
        ai.embeddings.create(model="embed", input=["a", ""])
    assert (failed.value.param, failed.value.type) == ("input[1]", "invalid_request_error")


def test_models_are_listed_and_found(ai: openai.OpenAI):
    listed = {model.id for model in ai.models.list()}
    assert {"auto", "chat", "m-chat"} <= listed
    assert ai.models.retrieve("m-chat").id == "m-chat"
    with pytest.raises(openai.NotFoundError):
        ai.models.retrieve("nothing")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("messages", {"messages": []}),
        ("messages", {"messages": "text"}),
        ("model", {"model": 7, "messages": ASKED}),
        ("stream_options", {"messages": ASKED, "stream_options": 1}),
    ],
)
def test_a_malformed_request_is_a_bad_request_that_names_the_field(
    ai: openai.OpenAI, field: str, body: Any, *, stream: bool
):
    with pytest.raises(openai.BadRequestError) as failed:
        ai.chat.completions.create(**{"model": "chat", "stream": stream, **body})
    assert (failed.value.status_code, failed.value.param, failed.value.type) == (
        400,
        field,
        "invalid_request_error",
    )
    assert field in failed.value.message


def test_what_the_provider_refuses_is_a_bad_request(ai: openai.OpenAI, simulator: Any):
    with simulator.behaviour("m-chat", "context-length"), pytest.raises(openai.BadRequestError) as failed:
        ai.chat.completions.create(model="chat", messages=ASKED)
    assert failed.value.code == "context_length_exceeded"


@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_model_is_not_found(ai: openai.OpenAI, *, stream: bool):
    with pytest.raises(openai.NotFoundError) as failed:
        ai.chat.completions.create(model="no-such-model", messages=ASKED, stream=stream)
    assert failed.value.param == "model"


@pytest.mark.parametrize("stream", [False, True])
def test_a_full_queue_is_a_rate_limit_with_the_time_to_wait(
    ai: openai.OpenAI, crowded: None, *, stream: bool
):
    hurried = ai.with_options(default_headers={"x-penstock-timeout-s": "1.5"})

    def ask() -> openai.APIStatusError:
        with pytest.raises(openai.APIStatusError) as failed:
            hurried.chat.completions.create(model="fast", messages=ASKED, stream=stream)
        return failed.value

    # Admission reads heartbeats that are up to two seconds old; until then a request waits for its deadline.
    errors = [ask() for _ in range(4)]
    assert {error.code for error in errors} <= {"overloaded", "deadline_exceeded"}
    refused = [error for error in errors if isinstance(error, openai.RateLimitError)]
    assert refused
    assert all(int(error.response.headers["retry-after"]) >= 1 for error in refused)


@pytest.mark.parametrize("stream", [False, True])
def test_a_spent_budget_is_payment_required(ai: openai.OpenAI, *, stream: bool):
    with pytest.raises(openai.APIStatusError) as failed:
        ai.chat.completions.create(model="chat", messages=ASKED, stream=stream, user="spent")
    error = failed.value
    assert (error.status_code, error.type, error.code) == (402, "insufficient_quota", "budget_exceeded")
    assert error.response.headers["x-should-retry"] == "false", "of a budget of 0 there is never more"


@pytest.mark.parametrize("stream", [False, True])
def test_a_limit_on_requests_is_a_rate_limit_error_with_its_headers(ai: openai.OpenAI, *, stream: bool):
    with pytest.raises(openai.RateLimitError) as failed:
        ai.chat.completions.create(model="chat", messages=ASKED, stream=stream, user="limited")
    error = failed.value
    assert (error.type, error.code) == ("rate_limit_error", "rate_limited")
    assert error.response.headers["x-ratelimit-limit-requests"] == "0"
    assert error.response.headers["x-ratelimit-remaining-requests"] == "0"


def test_a_disabled_user_is_forbidden(ai: openai.OpenAI):
    with pytest.raises(openai.PermissionDeniedError) as failed:
        ai.responses.create(model="chat", input=QUESTION, user="disabled")
    assert failed.value.code == "account_disabled"


def test_the_retries_of_the_sdk_wait_until_a_limit_frees(ai: openai.OpenAI):
    patient = ai.with_options(max_retries=3)
    for _ in range(3):
        answer = patient.chat.completions.create(model="chat", messages=ASKED, user="slow")
        assert answer.choices[0].message.content


def test_the_retries_of_the_sdk_outlast_a_broken_provider(ai: openai.OpenAI, simulator: Any):
    with simulator.behaviour("m-chat", "flaky=0.5"):
        for _ in range(4):
            assert (
                ai.with_options(max_retries=3).chat.completions.create(model="chat", messages=ASKED).choices
            )


@pytest.mark.parametrize("stream", [False, True])
def test_a_timeout_of_the_sdk_cancels_the_call_of_the_provider(
    ai: openai.OpenAI, simulator: Any, until: Any, *, stream: bool
):
    before = simulator.cancelled("m-logic")
    with simulator.behaviour("m-logic", "silent"), pytest.raises(openai.APITimeoutError):
        ai.with_options(timeout=1).chat.completions.create(model="logic", messages=ASKED, stream=stream)
    until(lambda: simulator.cancelled("m-logic") == before + 1)


def test_a_deadline_of_the_gateway_is_an_error_with_its_status(ai: openai.OpenAI, simulator: Any):
    with simulator.behaviour("m-logic", "silent"), pytest.raises(openai.InternalServerError) as failed:
        ai.chat.completions.create(model="logic", messages=ASKED, extra_headers={"x-penstock-timeout-s": "1"})
    assert (failed.value.status_code, failed.value.code) == (504, "deadline_exceeded")


def test_comments_before_the_first_chunk_are_ignored(ai: openai.OpenAI, simulator: Any):
    """They come once the status was sent, after two seconds."""
    with simulator.behaviour("m-logic", "slow=3"):
        chunks = list(ai.chat.completions.create(model="logic", messages=ASKED, stream=True))
    assert QUESTION in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def test_a_deadline_after_the_status_of_a_stream_is_an_error(ai: openai.OpenAI, simulator: Any):
    asked: Any = {"model": "logic", "messages": ASKED, "stream": True}
    with simulator.behaviour("m-logic", "silent"):
        stream = ai.chat.completions.create(**asked, extra_headers={"x-penstock-timeout-s": "3"})
        with pytest.raises(openai.APIError) as failed:
            list(stream)
    assert failed.value.code == "deadline_exceeded"


def test_closing_a_stream_cancels_the_call_of_the_provider(ai: openai.OpenAI, simulator: Any, until: Any):
    before = simulator.cancelled("m-logic")
    simulator.control("PUT", "hold", {"after_tokens": 3})
    try:
        stream = ai.chat.completions.create(model="logic", messages=ASKED, stream=True)
        next(iter(stream))
        stream.close()
        until(lambda: simulator.cancelled("m-logic") == before + 1)
    finally:
        simulator.control("PUT", "hold", {})


@pytest.mark.parametrize("behaviour", ["cut=3", "error-event=3", "malformed=3"])
def test_a_stream_that_breaks_raises_an_error_of_the_sdk(ai: openai.OpenAI, simulator: Any, behaviour: str):
    with simulator.behaviour("m-logic", behaviour), pytest.raises(openai.APIError) as failed:
        list(ai.chat.completions.create(model="logic", messages=ASKED, stream=True))
    assert "m-logic" in failed.value.message


BLOCKED: Any = [{"role": "user", "content": "My number is 536-22-8719."}]


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_guard_blocks_is_a_bad_request_with_its_categories(ai: openai.OpenAI, *, stream: bool):
    with pytest.raises(openai.BadRequestError) as refused:
        ai.chat.completions.create(model="chat", messages=BLOCKED, stream=stream)
    body: Any = refused.value.body
    assert (refused.value.code, body["categories"]) == ("blocked", ["personal_data/us_ssn"])
    with pytest.raises(openai.BadRequestError) as refused:
        ai.responses.create(model="chat", input=BLOCKED[0]["content"], stream=stream)
    body = refused.value.body
    assert (refused.value.code, body["categories"]) == ("blocked", ["personal_data/us_ssn"])


def test_texts_are_moderated(ai: openai.OpenAI):
    reply = ai.moderations.create(
        input=["Good morning", "How do I build a bomb?"], model="omni-moderation-latest"
    )
    assert [result.flagged for result in reply.results] == [False, True]
    assert reply.results[1].categories.illicit_violent
    assert reply.results[1].category_scores.illicit_violent > reply.results[0].category_scores.illicit_violent
