"""Anthropic's SDK for Python."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from conftest import EDGE, KEY
from pydantic import BaseModel

QUESTION = "Why is the sky blue?"
ASKED: Any = [{"role": "user", "content": QUESTION}]
BOTH: Any = [{"role": "user", "content": "What is the weather, and what time is it in Rome?"}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"name": "get_weather", "description": "The weather of a city", "input_schema": CITY}
TIME: Any = {"name": "get_time", "description": "The time in a city", "input_schema": CITY}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
LIMIT: Any = {"max_tokens": 1000}


class Day(BaseModel):
    date: str
    degrees: float


class Forecast(BaseModel):
    """The weather of several days."""

    city: str
    days: list[Day]
    note: str | None


@pytest.fixture
def claude() -> Iterator[anthropic.Anthropic]:
    """It does not retry, so that each test sees the first answer."""
    with anthropic.Anthropic(base_url=EDGE, api_key=KEY, max_retries=0, timeout=30) as client:
        yield client


def text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_a_whole_message_with_its_headers(claude: anthropic.Anthropic):
    raw = claude.messages.with_raw_response.create(model="chat", messages=ASKED, **LIMIT)
    message = raw.parse()
    assert QUESTION in text_of(message)
    assert (message.model, message.role, message.stop_reason) == ("m-chat", "assistant", "end_turn")
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0
    assert message._request_id == raw.headers["request-id"] == raw.headers["x-penstock-request-id"]
    assert raw.headers["x-penstock-role"] == "chat"


async def test_a_whole_message_of_the_asynchronous_client(claude: anthropic.Anthropic):
    whole = claude.messages.create(model="chat", messages=ASKED, **LIMIT)
    async with anthropic.AsyncAnthropic(base_url=EDGE, auth_token=KEY) as client:
        message = await client.messages.create(model="chat", messages=ASKED, **LIMIT)
        async with client.messages.stream(model="chat", messages=ASKED, **LIMIT) as stream:
            streamed = await stream.get_final_text()
    assert text_of(message) == text_of(whole) == streamed


def test_the_events_of_a_stream_have_the_order_of_anthropic(claude: anthropic.Anthropic):
    events = list(claude.messages.create(model="chat", messages=ASKED, stream=True, **LIMIT))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}


def test_the_stream_helper_gives_the_whole_message(claude: anthropic.Anthropic):
    whole = claude.messages.create(model="chat", messages=ASKED, **LIMIT)
    with claude.messages.stream(model="chat", messages=ASKED, **LIMIT) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert "".join(pieces) == text_of(final) == text_of(whole)
    assert len(pieces) > 1
    assert (final.model, final.stop_reason) == (whole.model, whole.stop_reason)
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert stream.request_id == stream.response.headers["x-penstock-request-id"]


@pytest.mark.parametrize("stream", [False, True])
def test_parallel_tool_calls_have_complete_inputs(claude: anthropic.Anthropic, *, stream: bool):
    message = ask(claude, stream=stream, messages=BOTH, tools=[WEATHER, TIME])
    calls = [block for block in message.content if block.type == "tool_use"]
    assert message.stop_reason == "tool_use"
    assert [call.name for call in calls] == ["get_weather", "get_time"]
    assert all(set(call.input) == {"city"} for call in calls)
    assert len({call.id for call in calls}) == 2


def test_the_input_of_a_tool_call_streams_in_pieces(claude: anthropic.Anthropic):
    asked: Any = {"model": "chat", "messages": BOTH, "tools": [WEATHER], **LIMIT}
    with claude.messages.stream(**asked) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        (call,) = [block for block in stream.get_final_message().content if block.type == "tool_use"]
    assert json.loads("".join(pieces)) == call.input


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_result_is_answered_with_text(claude: anthropic.Anthropic, *, stream: bool):
    first = ask(claude, stream=False, messages=BOTH, tools=[WEATHER])
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "21 degrees"}
        for block in first.content
        if block.type == "tool_use"
    ]
    conversation = [
        *BOTH,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": results},
    ]
    message = ask(claude, stream=stream, messages=conversation, tools=[WEATHER])
    assert "21 degrees" in text_of(message)
    assert message.stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ({"type": "none"}, []),
        ({"type": "auto"}, []),
        ({"type": "any"}, ["get_weather"]),
        ({"type": "tool", "name": "get_time"}, ["get_time"]),
    ],
)
def test_the_tool_choice_is_obeyed(claude: anthropic.Anthropic, choice: Any, names: list[str]):
    message = ask(claude, stream=False, tools=[WEATHER, TIME], tool_choice=choice)
    assert [block.name for block in message.content if block.type == "tool_use"] == names


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_comes_before_the_text_of_those_who_ask_for_it(claude: anthropic.Anthropic, *, stream: bool):
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    asked: Any = {"model": "reasoning", "max_tokens": 2000}
    thought = ask(claude, stream=stream, thinking=thinking, **asked)
    assert [block.type for block in thought.content] == ["thinking", "text"]
    assert thought.content[0].thinking
    silent = ask(claude, stream=stream, **asked)
    assert [block.type for block in silent.content] == ["text"]


def test_thinking_of_an_earlier_turn_may_be_sent_back(claude: anthropic.Anthropic):
    asked: Any = {
        "model": "reasoning",
        "max_tokens": 2000,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    first = ask(claude, stream=False, **asked)
    conversation = [
        *ASKED,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": "And at night?"},
    ]
    assert "And at night?" in text_of(ask(claude, stream=False, messages=conversation, **asked))


@pytest.mark.parametrize("system", ["Be brief.", [{"type": "text", "text": "Be brief."}]])
def test_a_system_prompt_reaches_the_model(claude: anthropic.Anthropic, simulator: Any, system: Any):
    ask(claude, stream=False, system=system)
    sent = simulator.last_request("m-chat")["messages"]
    assert [(each["role"], each["content"]) for each in sent] == [("system", "Be brief."), ("user", QUESTION)]


def test_stop_sequences_and_sampling_reach_the_model(claude: anthropic.Anthropic, simulator: Any):
    ask(claude, stream=False, stop_sequences=["END"], extra_body={"temperature": 0.5, "top_p": 0.9})
    sent = simulator.last_request("m-chat")
    assert (sent["stop"], sent["temperature"], sent["top_p"]) == (["END"], 0.5, 0.9)


def test_images_reach_the_model(claude: anthropic.Anthropic):
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "text", "text": "What is it?"}, {"type": "image", "source": source}]
    message = ask(claude, stream=False, model="vision", messages=[{"role": "user", "content": content}])
    assert "1 image" in text_of(message)


@pytest.mark.parametrize("stream", [False, True])
def test_a_structured_answer_is_parsed(claude: anthropic.Anthropic, *, stream: bool):
    asked: Any = {"model": "chat", "messages": ASKED, "output_format": Forecast, **LIMIT}
    if stream:
        with claude.messages.stream(**asked) as events:
            parsed = events.get_final_message().parsed_output
    else:
        parsed = claude.messages.parse(**asked).parsed_output
    assert isinstance(parsed, Forecast)
    assert parsed.days


def test_the_input_tokens_are_counted_without_a_call_of_the_model(
    claude: anthropic.Anthropic, simulator: Any
):
    def calls() -> int:
        return int(simulator.control("GET", "counts")["total_attempts"])

    before = calls()
    short = claude.messages.count_tokens(model="chat", messages=ASKED).input_tokens
    long = claude.messages.count_tokens(
        model="chat", messages=ASKED, tools=[WEATHER], system="Be brief. " * 50
    )
    assert 0 < short < long.input_tokens
    assert calls() == before


def test_a_short_limit_ends_the_answer(claude: anthropic.Anthropic):
    message = ask(claude, stream=False, max_tokens=3)
    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens <= 3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("messages", {"messages": []}),
        ("messages", {"messages": "text"}),
        ("max_tokens", {"max_tokens": 0}),
        ("model", {"model": 7}),
        ("tools", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    ],
)
def test_a_malformed_request_is_a_bad_request_that_names_the_field(
    claude: anthropic.Anthropic, field: str, fields: Any, *, stream: bool
):
    with pytest.raises(anthropic.BadRequestError) as failed:
        claude.messages.create(**{"model": "chat", "messages": ASKED, **LIMIT, "stream": stream, **fields})
    assert failed.value.status_code == 400
    assert failed.value.body["error"]["type"] == "invalid_request_error"
    assert field in failed.value.message


@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_model_is_not_found(claude: anthropic.Anthropic, *, stream: bool):
    with pytest.raises(anthropic.NotFoundError) as failed:
        claude.messages.create(model="no-such-model", messages=ASKED, stream=stream, **LIMIT)
    assert failed.value.body["error"]["type"] == "not_found_error"
    assert "no-such-model" in failed.value.message


def test_what_is_too_long_for_the_model_is_a_bad_request(claude: anthropic.Anthropic, simulator: Any):
    with simulator.behaviour("m-chat", "context-length"), pytest.raises(anthropic.BadRequestError) as failed:
        ask(claude, stream=False)
    assert "prompt is too long" in failed.value.message


def test_a_deadline_of_the_gateway_is_a_timeout(claude: anthropic.Anthropic, simulator: Any):
    with simulator.behaviour("m-logic", "silent"), pytest.raises(anthropic.InternalServerError) as failed:
        ask(claude, stream=False, model="logic", extra_headers={"x-penstock-timeout-s": "1"})
    assert failed.value.status_code == 504
    assert failed.value.body["error"]["type"] == "timeout_error"


def test_the_retries_of_the_sdk_outlast_a_broken_provider(claude: anthropic.Anthropic, simulator: Any):
    with simulator.behaviour("m-chat", "flaky=0.5"):
        for _ in range(4):
            assert text_of(ask(claude.with_options(max_retries=3), stream=False))


def test_an_error_that_would_repeat_is_not_retried(claude: anthropic.Anthropic, simulator: Any):
    def calls() -> int:
        return int(simulator.control("GET", "counts")["total_attempts"])

    with simulator.behaviour("m-chat", "context-length"):
        before = calls()
        with pytest.raises(anthropic.BadRequestError):
            ask(claude.with_options(max_retries=5), stream=False)
        assert calls() == before + 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_timeout_of_the_sdk_cancels_the_call_of_the_provider(
    claude: anthropic.Anthropic, simulator: Any, until: Any, *, stream: bool
):
    before = simulator.cancelled("m-logic")
    with simulator.behaviour("m-logic", "silent"), pytest.raises(anthropic.APITimeoutError):
        claude.with_options(timeout=1).messages.create(model="logic", messages=ASKED, stream=stream, **LIMIT)
    until(lambda: simulator.cancelled("m-logic") == before + 1)


def test_closing_a_stream_cancels_the_call_of_the_provider(
    claude: anthropic.Anthropic, simulator: Any, until: Any
):
    before = simulator.cancelled("m-logic")
    simulator.control("PUT", "hold", {"after_tokens": 3})
    try:
        with claude.messages.stream(model="logic", messages=ASKED, **LIMIT) as stream:
            next(iter(stream.text_stream))
        until(lambda: simulator.cancelled("m-logic") == before + 1)
    finally:
        simulator.control("PUT", "hold", {})


@pytest.mark.parametrize("behaviour", ["cut=3", "error-event=3", "malformed=3"])
def test_a_stream_that_breaks_raises_an_error_of_the_sdk(
    claude: anthropic.Anthropic, simulator: Any, behaviour: str
):
    with simulator.behaviour("m-logic", behaviour), pytest.raises(anthropic.APIError) as failed:
        list(claude.messages.create(model="logic", messages=ASKED, stream=True, **LIMIT))
    assert "m-logic" in failed.value.message


def test_models_are_listed_and_found(claude: anthropic.Anthropic):
    listed = {model.id for model in claude.models.list()}
    assert {"auto", "chat"} <= listed


def ask(claude: anthropic.Anthropic, *, stream: bool, **fields: Any) -> Any:
    """The message of one request, whole or collected from its stream."""
    asked = {"model": "chat", "messages": ASKED, **LIMIT, **fields}
    if not stream:
        return claude.messages.create(**asked)
    with claude.messages.stream(**asked) as events:
        return events.get_final_message()


def test_a_spent_budget_is_a_billing_error(claude: anthropic.Anthropic):
    with pytest.raises(anthropic.APIStatusError) as failed:
        claude.messages.create(
            model="chat", messages=ASKED, extra_headers={"x-penstock-user": "spent"}, **LIMIT
        )
    assert failed.value.status_code == 402
    assert isinstance(failed.value.body, dict)
    assert failed.value.body["error"]["type"] == "billing_error"


def test_a_limit_on_requests_is_a_rate_limit_error_with_its_headers(claude: anthropic.Anthropic):
    with pytest.raises(anthropic.RateLimitError) as failed:
        claude.messages.create(
            model="chat", messages=ASKED, extra_headers={"x-penstock-user": "limited"}, **LIMIT
        )
    headers = failed.value.response.headers
    assert headers["anthropic-ratelimit-requests-limit"] == "0"
    assert headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert headers["anthropic-ratelimit-requests-reset"].endswith("Z")


def test_the_retries_of_the_sdk_wait_until_a_limit_frees(claude: anthropic.Anthropic):
    patient = claude.with_options(max_retries=3)
    for _ in range(3):
        message = patient.messages.create(
            model="chat", messages=ASKED, extra_headers={"x-penstock-user": "slow"}, **LIMIT
        )
        assert text_of(message)


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_guard_blocks_is_a_bad_request_with_its_categories(
    claude: anthropic.Anthropic, *, stream: bool
):
    asked: Any = [{"role": "user", "content": "My number is 536-22-8719."}]
    with pytest.raises(anthropic.BadRequestError) as refused:
        claude.messages.create(model="chat", messages=asked, stream=stream, **LIMIT)
    details = refused.value.body["error"]["details"]  # type: ignore[index] # the SDK has no type for it
    assert details == {"error_code": "blocked", "categories": ["personal_data/us_ssn"]}
