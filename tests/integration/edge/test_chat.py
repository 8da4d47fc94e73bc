"""The unchanged OpenAI SDK at `/v1/chat/completions`, whole and streamed."""

from __future__ import annotations

from typing import Any

import msgspec
import openai
import pytest

from tests.harness.processes.system import System
from tests.harness.requests.replies import simulator_answer

QUESTION = "Why is the sky blue?"
ASKED: Any = [{"role": "user", "content": QUESTION}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": CITY}}]
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


async def test_e1_a_whole_answer_with_its_model_usage_and_headers(ai: openai.AsyncOpenAI, system: System):
    raw = await ai.chat.completions.with_raw_response.create(model="coding", messages=ASKED)
    answer = raw.parse()
    assert answer.choices[0].message.content == await simulator_answer(system, "coder", QUESTION)
    assert (answer.model, answer.object) == ("coder", "chat.completion")
    assert answer.id.startswith("chatcmpl-")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert raw.headers["x-penstock-role"] == "coding"
    assert raw.headers["x-penstock-attempts"] == "1"
    assert raw.headers["x-penstock-request-id"] in answer.id
    assert "named in the request" in raw.headers["x-penstock-reason"]
    assert int(raw.headers["x-penstock-queue-wait-ms"]) >= 0
    assert int(raw.headers["x-penstock-cost-microusd"]) == 100 * answer.usage.total_tokens


async def test_k1_an_option_in_the_body_is_a_400_that_names_its_header(ai: openai.AsyncOpenAI):
    with pytest.raises(openai.BadRequestError, match="send the header x-penstock-timeout-s") as refused:
        await ai.chat.completions.create(model="coding", messages=ASKED, extra_body={"timeout_s": 5})
    assert refused.value.param == "timeout_s"
    answer = await ai.chat.completions.create(
        model="coding", messages=ASKED, extra_headers={"x-penstock-timeout-s": "5"}
    )
    assert answer.choices[0].message.content


async def test_e1_a_streamed_answer_with_usage_in_the_last_chunk(ai: openai.AsyncOpenAI, system: System):
    stream = await ai.chat.completions.create(
        model="coding", messages=ASKED, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == await simulator_answer(system, "coder", QUESTION)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.model for chunk in chunks} == {"coder"}
    *others, last = chunks
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens > 0
    assert all(chunk.usage is None for chunk in others)
    assert [c.choices[0].finish_reason for c in others if c.choices[0].finish_reason] == ["stop"]


async def test_e1_a_stream_without_include_usage_has_none(ai: openai.AsyncOpenAI):
    stream = await ai.chat.completions.create(model="coding", messages=ASKED, stream=True)
    chunks = [chunk async for chunk in stream]
    assert all(chunk.usage is None and len(chunk.choices) == 1 for chunk in chunks)


@pytest.mark.parametrize("model", ["auto", "coding"])
async def test_b1_the_model_field_may_name_auto_or_a_role(ai: openai.AsyncOpenAI, model: str):
    raw = await ai.chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": "Write a Python function that sorts a list."}]
    )
    assert raw.headers["x-penstock-role"] == "coding"
    assert raw.parse().model == "coder"


async def test_e1_tool_calls_whole_and_streamed(ai: openai.AsyncOpenAI):
    asked: Any = {"model": "coding", "messages": ASKED, "tools": TOOLS, "tool_choice": "required"}
    whole = await ai.chat.completions.create(**asked)
    assert whole.choices[0].finish_reason == "tool_calls"
    (call,) = whole.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "weather"

    async with ai.chat.completions.stream(**asked) as stream:
        streamed = await stream.get_final_completion()
    (again,) = streamed.choices[0].message.tool_calls or []
    assert again.function.arguments == call.function.arguments
    assert set(msgspec.json.decode(call.function.arguments)) == {"city"}
    assert streamed.choices[0].finish_reason == "tool_calls"


async def test_e1_several_choices_of_a_whole_answer(ai: openai.AsyncOpenAI):
    answer = await ai.chat.completions.create(model="coding", messages=ASKED, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert all(choice.message.content for choice in answer.choices)


@pytest.mark.parametrize("stream", [True, False])
async def test_e1_images_reach_the_model(ai: openai.AsyncOpenAI, *, stream: bool):
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    messages: Any = [{"role": "user", "content": content}]
    if stream:
        async with ai.chat.completions.stream(model="vision", messages=messages) as events:
            answer: Any = await events.get_final_completion()
    else:
        answer = await ai.chat.completions.create(model="vision", messages=messages)
    assert "image" in (answer.choices[0].message.content or "")


async def test_e1_reasoning_of_a_stream_passes(ai: openai.AsyncOpenAI):
    stream = await ai.chat.completions.create(model="reasoning", messages=ASKED, stream=True)
    deltas = [chunk.choices[0].delta async for chunk in stream]
    assert "".join(getattr(delta, "reasoning", None) or "" for delta in deltas)
    assert "".join(delta.content or "" for delta in deltas)


async def test_e1_a_json_schema_reaches_the_model(ai: openai.AsyncOpenAI):
    answer = await ai.chat.completions.create(
        model="coding",
        messages=ASKED,
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}},
    )
    assert set(msgspec.json.decode(answer.choices[0].message.content or "")) == {"city"}


async def test_e1_unknown_fields_and_numbers_reach_the_provider_unchanged(
    ai: openai.AsyncOpenAI, system: System
):
    await ai.chat.completions.create(
        model="coding", messages=ASKED, seed=2**53 + 1, extra_body={"x_new": {"a": [1.50, "é"]}}
    )
    sent = await system.sim("GET", "last_request?model=coder")
    assert sent["seed"] == 2**53 + 1
    assert sent["x_new"] == {"a": [1.50, "é"]}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("behaviour", "status", "kind", "retried"),
    [
        ("bad-request", 400, openai.BadRequestError, False),
        ("context-length", 400, openai.BadRequestError, False),
        ("content-filter", 400, openai.BadRequestError, False),
        ("unauthorized", 502, openai.InternalServerError, True),
        ("503", 503, openai.InternalServerError, True),
    ],
)
async def test_d10_a_failure_is_an_openai_error_with_its_status(
    ai: openai.AsyncOpenAI,
    system: System,
    behaviour: str,
    status: int,
    kind: type[openai.APIStatusError],
    *,
    retried: bool,
    stream: bool,
):
    await system.sim("PUT", "behaviour", {"coder": behaviour})
    try:
        with pytest.raises(kind) as failed:
            await ai.chat.completions.create(model="coding", messages=ASKED, stream=stream)
    finally:
        await system.sim("PUT", "behaviour", {"coder": ""})
    error = failed.value
    assert error.status_code == status
    assert isinstance(error.body, dict)
    assert set(error.body) == {"message", "type", "param", "code"}
    assert "coder" in error.body["message"]
    assert error.body["type"] == ("invalid_request_error" if status < 500 else "server_error")
    assert (error.response.headers.get("x-should-retry") != "false") == retried
    assert error.response.headers["x-penstock-request-id"]


@pytest.mark.parametrize("stream", [True, False])
async def test_d10_an_unknown_model_is_a_404_that_names_the_field(ai: openai.AsyncOpenAI, *, stream: bool):
    with pytest.raises(openai.NotFoundError) as failed:
        await ai.chat.completions.create(model="no_such_role", messages=ASKED, stream=stream)
    assert isinstance(failed.value.body, dict)
    assert (failed.value.body["code"], failed.value.body["param"]) == ("unknown_role", "model")
    assert "the roles are chat, " in failed.value.body["message"]


@pytest.mark.parametrize("model", ["poet", "poet:simple"])
async def test_b1_a_model_is_offered_under_its_name_by_a_role(ai: openai.AsyncOpenAI, model: str):
    """The catalogue has a role of that name, whose chain is the model."""
    answer = await ai.chat.completions.create(model=model, messages=ASKED)
    assert answer.model == "poet"
    streamed = [
        each async for each in await ai.chat.completions.create(model=model, messages=ASKED, stream=True)
    ]
    assert {chunk.model for chunk in streamed} == {"poet"}
    listed: Any = (await ai.models.retrieve("poet")).to_dict()["penstock"]
    assert [each["model"] for each in listed["chain"]] == ["poet"]


@pytest.mark.parametrize("stream", [False, True])
async def test_k2_a_model_named_by_a_client_answers(ai: openai.AsyncOpenAI, *, stream: bool):
    """The chain of `logic` prefers another one."""
    if stream:
        chunks = await ai.chat.completions.create(model="other", messages=ASKED, stream=True)
        assert {chunk.model async for chunk in chunks} == {"other"}
        return
    answer = await ai.chat.completions.with_raw_response.create(model="other", messages=ASKED)
    assert answer.parse().model == "other"
    assert answer.headers["x-penstock-role"] == "model-other"


async def test_k2_a_named_model_without_fallbacks_ends_in_its_own_error(
    ai: openai.AsyncOpenAI, system: System
):
    await system.sim("PUT", "behaviour", {"m-chat": "500"})
    try:
        with pytest.raises(openai.InternalServerError) as failed:
            await ai.chat.completions.create(model="m-chat", messages=ASKED)
    finally:
        await system.sim("PUT", "behaviour", {"m-chat": ""})
    assert failed.value.status_code == 503


async def test_k2_an_unknown_model_is_a_404_with_roles_and_models_of_a_similar_name(ai: openai.AsyncOpenAI):
    with pytest.raises(openai.NotFoundError, match=r"the roles are chat, .*similar name is coder") as failed:
        await ai.chat.completions.create(model="coders", messages=ASKED)
    assert isinstance(failed.value.body, dict)
    assert (failed.value.body["code"], failed.value.body["param"]) == ("unknown_role", "model")
    with pytest.raises(openai.NotFoundError, match=r"no model 'coders'; the roles are auto, chat, "):
        await ai.models.retrieve("coders")


async def test_b2_a_complexity_after_a_model_is_no_name(ai: openai.AsyncOpenAI):
    with pytest.raises(
        openai.NotFoundError, match=r"no role and no model 'coder:simple'.*similar name is coder"
    ):
        await ai.chat.completions.create(model="coder:simple", messages=ASKED)


async def test_c3_a_wait_beyond_the_deadline_ends_with_retry_after(ai: openai.AsyncOpenAI, system: System):
    await system.sim("PUT", "behaviour", {"m-fast": "429=20"})
    try:
        with pytest.raises(openai.APIStatusError) as failed:
            await ai.chat.completions.create(
                model="fast", messages=ASKED, extra_headers={"x-penstock-timeout-s": "1"}
            )
    finally:
        await system.sim("PUT", "behaviour", {"m-fast": ""})
    assert failed.value.status_code == 504
    assert 1 <= int(failed.value.response.headers["retry-after"]) <= 20
