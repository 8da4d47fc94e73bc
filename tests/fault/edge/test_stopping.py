"""D9: an edge that is stopped or killed: open answers finish, end with an error, or are read from another edge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import aiohttp
import pytest

from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system, started
from tests.harness.requests.edge_client import (
    ReceivedEvent,
    chat_body,
    open_stream,
    read_stream,
    request,
    text_of,
)
from tests.harness.requests.replies import simulator_answer
from tests.harness.suite.waiting import until

LONG = "A long one [[tokens=200]]"
SHORT = "A short one [[tokens=60]]"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue({"chat": ("talker",)}, role={"slots_per_worker": 32})
    with shared_system(tmp_path_factory.mktemp("edge"), config=config) as running:
        yield running


@pytest.fixture(scope="module")
def other(system: System) -> str:
    return f"{started(system.new_edge()).ready['url']}/v1/chat/completions"


@pytest.fixture(autouse=True)
async def slow_answers(system: System) -> AsyncIterator[None]:
    await system.sim("POST", "reset")
    await system.sim("PUT", "speed", {"tokens_per_second": 50})
    yield
    await system.sim("PUT", "speed", {"tokens_per_second": 0})


async def test_d9_a_stopped_edge_finishes_its_open_answers(system: System):
    edge = system.new_edge()
    await edge.start()
    chat = f"{edge.ready['url']}/v1/chat/completions"
    whole = asyncio.create_task(request("POST", chat, chat_body(SHORT, "chat")))
    async with open_stream("POST", chat, chat_body(SHORT, "chat", stream=True)) as stream:
        events = stream.events()
        seen = [await anext(events)]
        stopping = asyncio.create_task(edge.terminate())
        await until(lambda: refuses_connections(chat))
        seen += [event async for event in events]
    assert seen[-1].data == "[DONE]"
    assert text_of(seen) == await simulator_answer(system, "talker", SHORT)
    assert (await whole).status == 200
    assert await stopping == 0


async def test_d9_an_answer_that_is_not_done_in_time_ends_in_an_error_and_goes_on(system: System, other: str):
    edge = system.new_edge(PENSTOCK_DRAIN_S="0.5")
    await edge.start()
    chat = f"{edge.ready['url']}/v1/chat/completions"
    whole = asyncio.create_task(request("POST", chat, chat_body(LONG, "chat")))
    async with open_stream("POST", chat, chat_body(LONG, "chat", stream=True)) as stream:
        events = stream.events()
        seen = [await anext(events)]
        stopping = asyncio.create_task(edge.terminate())
        seen += [event async for event in events]
    *chunks, error = seen
    assert stream.ended
    assert error.json["error"]["code"] == "shutting_down"
    assert f"GET /v1/chat/completions/{chunks[0].json['id']}" in error.json["error"]["message"]
    assert error.id == chunks[-1].id, "a client that resumes after the error misses nothing"
    assert (await whole).status == 503
    assert (await whole).headers["retry-after"] == "1"
    assert await stopping == 0

    path = f"{other}/{chunks[0].json['id']}"
    rest = await read_stream("GET", path, headers={"last-event-id": error.id})
    assert rest[-1].data == "[DONE]"
    assert text_of([*chunks, *rest]) == await simulator_answer(system, "talker", LONG)


async def test_d9_a_response_that_is_not_done_in_time_is_read_from_another_edge(system: System, other: str):
    edge = system.new_edge(PENSTOCK_DRAIN_S="0.5")
    await edge.start()
    body = {"model": "chat", "input": SHORT, "stream": True}
    async with open_stream("POST", f"{edge.ready['url']}/v1/responses", body) as stream:
        events = stream.events()
        seen = [await anext(events)]
        stopping = asyncio.create_task(edge.terminate())
        seen += [event async for event in events]
    *known, error = seen
    assert error.event == "response.failed"
    path = f"/v1/responses/{known[0].json['response']['id']}?stream=true"
    assert f"GET {path} " in error.json["response"]["error"]["message"]
    url = other.removesuffix("/v1/chat/completions")
    rest = await read_stream("GET", f"{url}{path}&starting_after={known[-1].json['sequence_number']}")
    assert rest[-1].event == "response.completed"
    (message,) = rest[-1].json["response"]["output"]
    assert message["content"][0]["text"] == await simulator_answer(system, "talker", SHORT)
    assert await stopping == 0


async def test_d9_a_message_that_is_not_done_in_time_ends_in_an_error_and_is_cancelled(system: System):
    """The rest cannot be read."""
    edge = system.new_edge(PENSTOCK_DRAIN_S="0.5")
    await edge.start()
    body = chat_body(LONG, "chat", stream=True, max_tokens=1000)
    async with open_stream("POST", f"{edge.ready['url']}/v1/messages", body) as stream:
        events = stream.events()
        seen = [await anext(events)]
        stopping = asyncio.create_task(edge.terminate())
        seen += [event async for event in events]
    assert seen[-1].event == "error"
    assert seen[-1].json["error"]["message"].endswith("send the request again")
    assert not any(event.event == "message_stop" for event in seen)
    assert await stopping == 0
    await until(lambda: is_cancelled(system))


async def test_d9_a_stream_of_a_killed_edge_is_continued_at_another(system: System, other: str):
    edge = system.new_edge()
    await edge.start()
    seen: list[ReceivedEvent] = []
    chat = f"{edge.ready['url']}/v1/chat/completions"
    async with open_stream("POST", chat, chat_body(LONG, "chat", stream=True)) as stream:
        events = stream.events()
        while len(seen) < 10:
            seen.append(await anext(events))
        edge.kill()
        with pytest.raises(aiohttp.ClientError):
            seen.extend([event async for event in events])
    assert seen[-1].data != "[DONE]"

    path = f"{other}/{seen[0].json['id']}"
    rest = await read_stream("GET", path, headers={"last-event-id": seen[-1].id})
    assert [event.number for event in (*seen, *rest)] == list(range(len(seen) + len(rest)))
    assert rest[-1].data == "[DONE]"
    assert text_of([*seen, *rest]) == await simulator_answer(system, "talker", LONG)


async def test_d9_all_streams_of_a_killed_edge_are_continued_exactly_once(system: System, other: str):
    edge = system.new_edge()
    await edge.start()
    chat = f"{edge.ready['url']}/v1/chat/completions"
    prompts = [f"Stream {number} [[tokens=60]]" for number in range(20)]
    begun = [asyncio.Event() for _ in prompts]

    async def read(prompt: str, has_begun: asyncio.Event) -> list[ReceivedEvent]:
        seen: list[ReceivedEvent] = []
        async with open_stream("POST", chat, chat_body(prompt, "chat", stream=True)) as stream:
            with suppress(aiohttp.ClientError):
                async for event in stream.events():
                    seen.append(event)
                    if len(seen) == 5:
                        has_begun.set()
        assert not stream.ended
        headers = {"last-event-id": seen[-1].id}
        return [*seen, *await read_stream("GET", f"{other}/{seen[0].json['id']}", headers=headers)]

    await system.hold_answers(20)
    reading = [asyncio.create_task(read(*each)) for each in zip(prompts, begun, strict=True)]
    async with asyncio.timeout(20):
        for each in begun:
            await each.wait()
    edge.kill()
    await system.release_answers()
    answers = await asyncio.gather(*reading)
    await system.sim("PUT", "speed", {"tokens_per_second": 0})
    for prompt, events in zip(prompts, answers, strict=True):
        assert [event.number for event in events] == list(range(len(events)))
        assert [event.data == "[DONE]" for event in events].count(True) == 1
        assert text_of(events) == await simulator_answer(system, "talker", prompt)


async def is_cancelled(system: System) -> bool:
    counts = await system.sim("GET", "counts")
    return bool(counts["models"]["talker"]["cancelled"] == 1)


async def refuses_connections(url: str) -> bool:
    try:
        await request("GET", url)
    except aiohttp.ClientConnectorError:
        return True
    return False
