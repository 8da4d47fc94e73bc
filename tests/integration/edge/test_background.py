"""E4: background responses with the unchanged OpenAI SDK: jobs, whose status and answer any edge process gives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import openai
import pytest
from nats.aio.client import Client as Nats
from openai.types.responses import Response

from penstock.bus.connection import close, connect
from penstock.bus.ids import new_id
from penstock.contract.streams import JOBS, REPLIES
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, started
from tests.harness.requests.edge_client import ReceivedEvent, open_stream, request
from tests.harness.requests.replies import simulator_answer
from tests.harness.suite.waiting import until

QUESTION = "Why is the sky blue?"


@pytest.fixture(scope="module")
def other_edge(system: System) -> Process:
    return started(system.new_edge())


@pytest.fixture
async def other(other_edge: Process) -> AsyncIterator[openai.AsyncOpenAI]:
    async with sdk(other_edge) as client:
        yield client


@pytest.fixture(autouse=True)
async def normal_answers(system: System) -> AsyncIterator[None]:
    yield
    await system.release_answers()
    await system.sim("PUT", "behaviour", {"coder": ""})


@pytest.fixture
async def nc(system: System) -> AsyncIterator[Nats]:
    connection = await connect(system.nats.url, name="test")
    yield connection
    await close(connection)


def sdk(edge: Process) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{edge.ready['url']}/v1", api_key="any", max_retries=0)


async def create(ai: openai.AsyncOpenAI, model: str = "coding", **fields: Any) -> Response:
    response = await ai.responses.create(**{"model": model, "input": QUESTION, "background": True, **fields})
    assert isinstance(response, Response)
    return response


async def reached(ai: openai.AsyncOpenAI, response_id: str, status: str) -> Response:
    found: list[Response] = []

    async def there() -> bool:
        found.append(await ai.responses.retrieve(response_id))
        return found[-1].status == status

    await until(there)
    return found[-1]


async def forget_replies(nc: Nats) -> None:
    """As after 15 minutes."""
    await nc.jetstream().purge_stream(REPLIES.name)


async def test_e4_a_response_is_created_polled_and_read_at_another_edge(
    ai: openai.AsyncOpenAI, other: openai.AsyncOpenAI, system: System
):
    response = await create(ai, metadata={"a": "b"})
    assert (response.status, response.model, response.output) == ("queued", "coding", [])
    assert (response.background, response.metadata) == (True, {"a": "b"})
    ended = await reached(other, response.id, "completed")
    assert ended.output_text == await simulator_answer(system, "coder", QUESTION)
    assert (ended.id, ended.model, ended.background) == (response.id, "coder", True)
    assert ended.usage is not None
    assert ended.usage.total_tokens > 0


async def test_e4_a_running_response_is_in_progress_and_can_be_cancelled_twice(
    ai: openai.AsyncOpenAI, other: openai.AsyncOpenAI, system: System
):
    await system.hold_answers()
    response = await create(ai)
    running = await reached(other, response.id, "in_progress")
    assert (running.model, running.output) == ("coder", [])
    assert (await other.responses.cancel(response.id)).status == "cancelled"
    assert (await ai.responses.cancel(response.id)).status == "cancelled"
    assert (await ai.responses.retrieve(response.id)).status == "cancelled"


async def test_e4_a_response_that_waits_is_queued_and_can_be_cancelled(
    ai: openai.AsyncOpenAI, system: System
):
    await system.hold_answers()
    created = [await create(ai, "vision") for _ in range(12)]
    waiting = created[-1].id
    assert (await ai.responses.retrieve(waiting)).status == "queued"
    assert (await ai.responses.cancel(waiting)).status == "cancelled"
    for response in created[:-1]:
        await ai.responses.cancel(response.id)


async def test_e4_the_end_of_the_submission_is_no_disconnect(ai: openai.AsyncOpenAI):
    response = await create(ai, extra_headers={"x-penstock-on-disconnect": "cancel"})
    await reached(ai, response.id, "completed")


async def test_d8_hanging_up_cancels_a_background_stream_with_the_header_for_it(
    ai: openai.AsyncOpenAI, system: System
):
    await system.hold_answers()
    headers = {"x-penstock-on-disconnect": "cancel"}
    stream: Any = await ai.responses.create(
        model="coding", input=QUESTION, background=True, stream=True, extra_headers=headers
    )
    created = await anext(aiter(stream))
    await stream.close()
    await reached(ai, created.response.id, "cancelled")


async def test_e4_a_response_that_its_limit_ended_is_incomplete(ai: openai.AsyncOpenAI):
    response = await create(ai, max_output_tokens=3)
    ended = await reached(ai, response.id, "incomplete")
    assert ended.incomplete_details is not None
    assert ended.incomplete_details.reason == "max_output_tokens"
    assert ended.output_text


async def test_e4_a_response_that_fails_has_an_error(ai: openai.AsyncOpenAI, system: System):
    await system.sim("PUT", "behaviour", {"coder": "bad-request"})
    response = await create(ai)
    ended = await reached(ai, response.id, "failed")
    assert ended.error is not None
    assert ended.error.code == "invalid_prompt"


async def test_e4_a_response_that_is_rejected_has_the_status_of_its_error(ai: openai.AsyncOpenAI):
    with pytest.raises(openai.NotFoundError, match="no-such-role"):
        await create(ai, "no-such-role")


async def test_e4_a_stream_is_left_and_resumed_at_another_edge(
    ai: openai.AsyncOpenAI, other: openai.AsyncOpenAI, system: System
):
    await system.hold_answers(after_tokens=10)
    seen: list[Any] = []
    stream: Any = await ai.responses.create(model="coding", input=QUESTION, background=True, stream=True)
    async for event in stream:
        seen.append(event)
        if event.type == "response.output_text.delta":
            break
    await stream.close()
    assert [event.type for event in seen[:3]] == [
        "response.created",
        "response.queued",
        "response.in_progress",
    ]
    assert [event.response.status for event in seen[:3]] == ["queued", "queued", "in_progress"]
    response_id, last = seen[0].response.id, seen[-1].sequence_number
    assert (await other.responses.retrieve(response_id)).status == "in_progress"
    resumed: Any = await other.responses.retrieve(response_id, stream=True, starting_after=last)
    await system.release_answers()
    rest = [event async for event in resumed]
    numbers = [event.sequence_number for event in (*seen, *rest)]
    assert numbers == list(range(len(numbers)))
    text = "".join(e.delta for e in (*seen, *rest) if e.type == "response.output_text.delta")
    assert (rest[-1].type, rest[-1].response.output_text) == ("response.completed", text)
    assert (await other.responses.retrieve(response_id)).output_text == text
    again: Any = await ai.responses.retrieve(response_id, stream=True)
    assert [event.sequence_number async for event in again] == numbers


async def test_e4_a_resumed_stream_begins_although_its_answer_stands_still(
    ai: openai.AsyncOpenAI, other: openai.AsyncOpenAI, system: System
):
    await system.hold_answers(after_tokens=1)
    stream: Any = await ai.responses.create(model="coding", input=QUESTION, background=True, stream=True)
    response_id = ""
    async for event in stream:
        if event.type == "response.created":
            response_id = event.response.id
        if event.type == "response.output_text.delta":
            break
    await stream.close()
    last = event.sequence_number
    resumed: Any = await other.responses.retrieve(response_id, stream=True, starting_after=last)
    await system.release_answers()
    assert [event.type async for event in resumed][-1] == "response.completed"


async def test_e4_only_a_streamed_response_has_a_stream(ai: openai.AsyncOpenAI):
    response = await create(ai)
    with pytest.raises(openai.BadRequestError) as refused:
        await ai.responses.retrieve(response.id, stream=True)
    assert refused.value.param == "stream"


@pytest.mark.parametrize("stream", [True, False])
async def test_e4_the_answer_is_read_after_its_events_have_expired(
    ai: openai.AsyncOpenAI, url: str, nc: Nats, *, stream: bool
):
    if stream:
        events: Any = await ai.responses.create(model="coding", input=QUESTION, background=True, stream=True)
        ended = [event async for event in events][-1].response
    else:
        ended = await reached(ai, (await create(ai)).id, "completed")
    await forget_replies(nc)
    again = await ai.responses.retrieve(ended.id)
    assert (again.status, again.output_text, again.usage) == ("completed", ended.output_text, ended.usage)
    assert (await ai.responses.cancel(ended.id)).status == "completed"
    if stream:
        events = await ai.responses.retrieve(ended.id, stream=True)
        types = [(event.type, getattr(event, "delta", None)) async for event in events]
        assert types[0] == ("response.created", None)
        assert ("response.output_text.delta", ended.output_text) in types
        assert types[-1] == ("response.completed", None)
        late = await request("GET", f"{url}/v1/responses/{ended.id}?stream=true&starting_after=4")
        assert (late.status, late.error["code"]) == (409, "restarted")


async def test_e4_a_response_without_a_status_is_read_until_its_events_have_expired(
    ai: openai.AsyncOpenAI, nc: Nats
):
    ended = await reached(ai, (await create(ai)).id, "completed")
    await nc.jetstream().purge_stream(JOBS.name)
    assert (await ai.responses.retrieve(ended.id)).output_text == ended.output_text
    await forget_replies(nc)
    for call in (ai.responses.retrieve, ai.responses.cancel):
        with pytest.raises(openai.NotFoundError):
            await call(ended.id)


@pytest.mark.parametrize("stream", [True, False])
async def test_d7_a_repeated_response_with_a_key_is_the_first_one(
    ai: openai.AsyncOpenAI, other: openai.AsyncOpenAI, system: System, *, stream: bool
):
    headers = {"idempotency-key": new_id()}
    before = await system.attempts()
    ids = []
    for client in (ai, other):
        if stream:
            events: Any = await client.responses.create(
                model="coding", input=QUESTION, background=True, stream=True, extra_headers=headers
            )
            ids.append([event async for event in events][-1].response.id)
        else:
            ids.append((await create(client, extra_headers=headers)).id)
            await reached(client, ids[-1], "completed")
    assert ids[0] == ids[1]
    assert await system.attempts() == before + 1


async def test_e4_after_a_kill_of_the_edge_another_one_has_the_status_and_the_answer(
    ai: openai.AsyncOpenAI, system: System
):
    await system.hold_answers()
    victim = system.new_edge()
    await victim.start()
    async with sdk(victim) as doomed:
        response = await create(doomed)
        await reached(doomed, response.id, "in_progress")
    victim.kill()
    assert (await ai.responses.retrieve(response.id)).status == "in_progress"
    await system.release_answers()
    ended = await reached(ai, response.id, "completed")
    assert ended.output_text == await simulator_answer(system, "coder", QUESTION)


async def test_e4_after_a_kill_of_the_edge_a_stream_is_resumed_at_another_one(
    ai: openai.AsyncOpenAI, system: System
):
    await system.hold_answers(after_tokens=10)
    victim = system.new_edge()
    await victim.start()
    body = {"model": "coding", "input": QUESTION, "background": True, "stream": True}
    seen: list[ReceivedEvent] = []
    with suppress(aiohttp.ClientError):  # the connection breaks
        async with open_stream("POST", f"{victim.ready['url']}/v1/responses", body) as stream:
            async for event in stream.events():
                seen.append(event)
                if event.event == "response.output_text.delta":
                    victim.kill()
    await system.release_answers()
    response_id, last = seen[0].json["response"]["id"], seen[-1].json["sequence_number"]
    rest: Any = await ai.responses.retrieve(response_id, stream=True, starting_after=last)
    events = [event async for event in rest]
    assert events[0].sequence_number == last + 1
    text = "".join(e.json["delta"] for e in seen if e.event == "response.output_text.delta")
    text += "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert events[-1].response.output_text == text == await simulator_answer(system, "coder", QUESTION)


async def test_e4_a_stream_whose_first_events_expired_while_it_ran_has_the_whole_answer(
    ai: openai.AsyncOpenAI, other: openai.AsyncOpenAI, system: System, nc: Nats
):
    """It is read from the result of the job, once there is one."""
    await system.hold_answers(after_tokens=10)
    stream: Any = await ai.responses.create(model="coding", input=QUESTION, background=True, stream=True)
    response_id = (await anext(aiter(stream))).response.id
    await stream.close()
    await reached(other, response_id, "in_progress")
    await forget_replies(nc)
    resumed: Any = await other.responses.retrieve(response_id, stream=True)
    await system.release_answers()
    events = [event async for event in resumed]
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == await simulator_answer(system, "coder", QUESTION)
    numbers = [event.sequence_number for event in events]
    assert numbers == list(range(len(numbers)))


async def test_e4_a_position_whose_events_expired_while_the_response_runs_is_a_409(
    ai: openai.AsyncOpenAI, url: str, system: System, nc: Nats
):
    """An error event would say that the response has failed."""
    await system.hold_answers(after_tokens=10)
    body = {"model": "coding", "input": QUESTION, "background": True, "stream": True}
    async with open_stream("POST", f"{url}/v1/responses", body) as stream:
        events = stream.events()
        seen = [await anext(events) for _ in range(5)]
    response_id = seen[0].json["response"]["id"]
    await forget_replies(nc)
    path = f"{url}/v1/responses/{response_id}?stream=true"
    refused = await request("GET", path, headers={"last-event-id": seen[-1].id})
    assert (refused.status, refused.error["code"]) == (409, "restarted")
    assert "without stream=true" in refused.error["message"]
    await system.release_answers()
    assert (await reached(ai, response_id, "completed")).output_text


@pytest.mark.parametrize(
    ("headers", "param"),
    [
        ({"x-penstock-lane": "interactive"}, "x-penstock-lane"),
        ({"x-penstock-timeout-s": "86401"}, "x-penstock-timeout-s"),
    ],
)
async def test_e4_a_background_response_has_the_limits_of_a_job(
    ai: openai.AsyncOpenAI, headers: dict[str, str], param: str
):
    with pytest.raises(openai.BadRequestError) as refused:
        await create(ai, extra_headers=headers)
    assert refused.value.param == param
    await create(ai, extra_headers={"x-penstock-timeout-s": "86400"})
