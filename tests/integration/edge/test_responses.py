"""The unchanged OpenAI SDK at `/v1/responses`, whole and streamed; a response read again, resumed and cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import openai
import pytest
from pydantic import BaseModel

from services.edge.requests.answer_id import AnswerId
from tests.harness.processes.system import System
from tests.harness.requests.edge_client import ReceivedEvent, open_stream, read_stream, request
from tests.harness.requests.replies import simulator_answer

QUESTION = "Why is the sky blue?"
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS: Any = [{"type": "function", "name": "weather", "parameters": CITY, "strict": True}]


class Place(BaseModel):
    city: str


@pytest.fixture
def responses(url: str) -> str:
    return f"{url}/v1/responses"


@pytest.fixture
def other(other_url: str) -> str:
    return f"{other_url}/v1/responses"


@pytest.fixture(autouse=True)
async def normal_speed(system: System) -> AsyncIterator[None]:
    yield
    await system.sim("PUT", "speed", {"tokens_per_second": 0, "first_token_ms": 0})


def body_of(prompt: str, model: str = "coding", **fields: Any) -> dict[str, Any]:
    return {"model": model, "input": prompt, **fields}


def text_of(events: list[ReceivedEvent]) -> str:
    return "".join(event.json["delta"] for event in events if event.event == "response.output_text.delta")


async def test_e1_a_whole_response_with_its_model_usage_and_headers(ai: openai.AsyncOpenAI, system: System):
    raw = await ai.responses.with_raw_response.create(model="coding", input=QUESTION, metadata={"a": "b"})
    response = raw.parse()
    assert response.output_text == await simulator_answer(system, "coder", QUESTION)
    assert (response.model, response.object, response.status) == ("coder", "response", "completed")
    assert response.id.startswith("resp_")
    assert response.metadata == {"a": "b"}
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens > 0
    assert raw.headers["x-penstock-role"] == "coding"
    assert raw.headers["x-penstock-request-id"] in response.id


async def test_e1_a_streamed_response_is_accumulated_by_the_sdk(ai: openai.AsyncOpenAI, system: System):
    async with ai.responses.stream(model="coding", input=QUESTION) as stream:
        events = [event async for event in stream]
        response = await stream.get_final_response()
    assert response.output_text == await simulator_answer(system, "coder", QUESTION)
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1].type == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert response.usage is not None
    assert response.usage.total_tokens > 0


async def test_e1_function_calls_whole_streamed_and_answered(ai: openai.AsyncOpenAI):
    asked: Any = {"model": "coding", "input": QUESTION, "tools": TOOLS, "tool_choice": "required"}
    whole = await ai.responses.create(**asked)
    (call,) = [item for item in whole.output if item.type == "function_call"]
    assert call.name == "weather"
    assert set(msgspec.json.decode(call.arguments)) == {"city"}

    async with ai.responses.stream(**asked) as stream:
        streamed = await stream.get_final_response()
    (again,) = [item for item in streamed.output if item.type == "function_call"]
    assert again.arguments == call.arguments

    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    conversation: Any = [{"role": "user", "content": QUESTION}, *whole.output, result]
    answer = await ai.responses.create(model="coding", input=conversation, tools=TOOLS, tool_choice="none")
    assert answer.output_text


async def test_e1_structured_text_whole_and_streamed(ai: openai.AsyncOpenAI):
    whole = await ai.responses.parse(model="coding", input=QUESTION, text_format=Place)
    assert isinstance(whole.output_parsed, Place)
    async with ai.responses.stream(model="coding", input=QUESTION, text_format=Place) as stream:
        streamed = await stream.get_final_response()
    assert streamed.output_parsed == whole.output_parsed


async def test_e1_instructions_reach_the_model_as_a_message(ai: openai.AsyncOpenAI, system: System):
    await ai.responses.create(model="coding", input=QUESTION, instructions="Be brief.", temperature=0.5)
    sent = await system.sim("GET", "last_request?model=coder")
    assert [message["content"] for message in sent["messages"]] == ["Be brief.", QUESTION]
    assert sent["temperature"] == 0.5


@pytest.mark.parametrize("stream", [True, False])
async def test_d10_a_failure_is_an_openai_error_with_its_status(
    ai: openai.AsyncOpenAI, system: System, *, stream: bool
):
    await system.sim("PUT", "behaviour", {"coder": "bad-request"})
    try:
        with pytest.raises(openai.BadRequestError) as failed:
            await ai.responses.create(model="coding", input=QUESTION, stream=stream)
    finally:
        await system.sim("PUT", "behaviour", {"coder": ""})
    assert isinstance(failed.value.body, dict)
    assert set(failed.value.body) == {"message", "type", "param", "code"}
    assert failed.value.body["code"] == "provider_refused"
    assert failed.value.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"background": True, "store": False}, "store"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": 1}, "input"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ],
)
async def test_d10_what_is_not_served_is_a_400_that_names_the_field(
    responses: str, fields: dict[str, Any], param: str
):
    answer = await request("POST", responses, body_of(QUESTION) | fields)
    assert (answer.status, answer.error["param"]) == (400, param)


async def test_e2_a_streamed_response_resumes_after_any_event_elsewhere(responses: str, other: str):
    events = await read_stream("POST", responses, body_of("Hello resumed", stream=True))
    assert len(events) > 5
    path = f"{other}/{events[0].json['response']['id']}"
    for event in events[:-1]:
        assert event.json["sequence_number"] == event.number
        expected = events[event.number + 1 :]
        assert await read_stream("GET", f"{path}?stream=true&starting_after={event.number}") == expected
    assert await read_stream("GET", f"{path}?stream=true") == events
    assert (await request("GET", f"{path}?stream=true&starting_after={events[-1].id}")).status == 204


async def test_e2_the_sdk_resumes_a_running_response(ai: openai.AsyncOpenAI, responses: str, system: System):
    await system.sim("PUT", "speed", {"tokens_per_second": 40})
    headers = {"x-penstock-on-disconnect": "continue"}
    body = body_of("Hello running [[tokens=60]]", stream=True)
    seen = []
    async with open_stream("POST", responses, body, headers=headers) as stream:
        async for event in stream.events():
            seen.append(event)
            if event.number == 8:
                break
    text_id = seen[0].json["response"]["id"]
    rest = [event async for event in await ai.responses.retrieve(text_id, stream=True, starting_after=8)]
    assert [event.sequence_number for event in rest] == list(range(9, 9 + len(rest)))
    last = rest[-1]
    assert last.type == "response.completed"
    deltas = "".join(event.delta for event in rest if event.type == "response.output_text.delta")
    assert last.response.output_text == text_of(seen) + deltas


async def test_e2_a_whole_response_is_read_again(ai: openai.AsyncOpenAI, other: str):
    response = await ai.responses.create(model="coding", input="Hello whole")
    again = await request("GET", f"{other}/{response.id}")
    assert (again.status, again.json) == (
        200,
        msgspec.json.decode(response.model_dump_json(exclude_unset=True)),
    )
    streamed = await request("GET", f"{other}/{response.id}?stream=true")
    assert (streamed.status, streamed.error["param"]) == (400, "stream")


async def test_e2_a_streamed_and_rescued_response_is_read_again_whole(ai: openai.AsyncOpenAI, responses: str):
    events = await read_stream("POST", responses, body_of("Hello streamed", "creative", stream=True))
    last = events[-1].json["response"]
    again = await request("GET", f"{responses}/{last['id']}")
    assert (again.status, again.json) == (200, last)
    assert (await ai.responses.retrieve(last["id"])).output_text == text_of(events)


async def test_d8_a_cancelled_response_ends_its_stream_and_the_call(
    ai: openai.AsyncOpenAI, responses: str, system: System
):
    await system.sim("POST", "reset")
    await system.sim("PUT", "speed", {"tokens_per_second": 40})
    body = body_of("Tell me everything [[tokens=2000]]", stream=True)
    async with open_stream("POST", responses, body) as stream:
        events = stream.events()
        text_id = (await anext(events)).json["response"]["id"]
        cancelled = await asyncio.wait_for(ai.responses.cancel(text_id), 5)
        rest = [event async for event in events]
    assert (cancelled.id, cancelled.status, cancelled.model) == (text_id, "cancelled", "coder")
    assert rest[-1].event == "response.failed"
    counts = await system.sim("GET", "counts")
    assert counts["models"]["coder"]["cancelled"] == 1
    assert (await ai.responses.retrieve(text_id)).status == "cancelled"


async def test_d8_cancelling_a_completed_response_returns_it(ai: openai.AsyncOpenAI):
    response = await ai.responses.create(model="coding", input="Hello completed")
    assert (await ai.responses.cancel(response.id)).output_text == response.output_text


NEVER = AnswerId(client="edge", request_id="019a9f3e-5b7c-7d21-8a40-0c6f1e2d3b4a", streamed=True)


@pytest.mark.parametrize("path", ["resp_1", NEVER.text("chatcmpl-"), NEVER.text("resp_")])
async def test_e2_an_unknown_response_is_a_404(responses: str, path: str):
    for method, route in (("GET", path), ("GET", f"{path}?stream=true"), ("POST", f"{path}/cancel")):
        answer = await request(method, f"{responses}/{route}")
        assert (answer.status, answer.error["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("route", "missing"),
    [
        ("embeddings", "no role for embeddings: add a model with a section embedding"),
        ("moderations", "the safety guard, .* no section guard"),
    ],
)
async def test_d10_a_missing_service_is_a_501_that_names_it(ai: openai.AsyncOpenAI, route: str, missing: str):
    create: Any = getattr(ai, route).create
    with pytest.raises(openai.InternalServerError, match=missing) as failed:
        await create(input="Hello", model="any")
    assert failed.value.status_code == 501
    assert failed.value.response.headers["x-should-retry"] == "false"
