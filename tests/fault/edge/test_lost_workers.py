"""D6, D7: a worker is killed in mid-stream; a client of the edge sees the whole answer or a clean error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system, started
from tests.harness.requests.edge_client import ReceivedEvent, chat_body, open_stream, request, text_of
from tests.harness.requests.replies import simulator_answer
from tests.harness.suite.waiting import until

PROMPT = "Tell me of the river [[tokens=100]]"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue({"chat": ("talker",), "logic": ("one", "other")}, breaker={"failure_threshold": 1000})
    with shared_system(tmp_path_factory.mktemp("edge"), "chat", "logic", config=config) as running:
        yield running


@pytest.fixture(scope="module")
def chat(system: System) -> str:
    return f"{started(system.new_edge()).ready['url']}/v1/chat/completions"


@pytest.fixture(autouse=True)
async def slow_answers(system: System) -> AsyncIterator[None]:
    await system.sim("PUT", "speed", {"tokens_per_second": 40})
    yield
    await system.sim("PUT", "speed", {"tokens_per_second": 0})
    await system.sim("PUT", "behaviour", {"one": ""})


async def read_while_the_worker_dies(
    system: System, chat: str, role: str, rescue: str, *, then: dict[str, str] | None = None
) -> list[ReceivedEvent]:
    """`then`: behaviours of the simulator from the kill on."""
    number = 0 if role == "chat" else 1
    headers = {"x-penstock-rescue": rescue}
    events: list[ReceivedEvent] = []
    async with open_stream("POST", chat, chat_body(PROMPT, role, stream=True), headers=headers) as stream:
        assert stream.status == 200
        async for event in stream.events():
            events.append(event)
            if event.number == 20:
                system.workers[number].kill()
                await system.sim("PUT", "behaviour", then or {})
                await system.sim("PUT", "speed", {"tokens_per_second": 0})
                system.workers[number] = system.new_worker(role)
                await system.workers[number].start()
    assert stream.ended, "the response has a proper end in every case"
    return events


async def test_d7_the_same_model_continues_the_stream_after_a_kill(system: System, chat: str):
    events = await read_while_the_worker_dies(system, chat, "chat", "error")
    assert text_of(events) == await simulator_answer(system, "talker", PROMPT)
    assert events[-1].data == "[DONE]"


async def test_d7_another_text_after_a_kill_is_an_error_and_never_spliced(system: System, chat: str):
    events = await read_while_the_worker_dies(system, chat, "logic", "error", then={"one": "500"})
    *chunks, error = events
    assert (await simulator_answer(system, "one", PROMPT)).startswith(text_of(chunks))
    assert error.json["error"]["code"] == "provider_unavailable"
    assert not any(event.data == "[DONE]" for event in events)


async def test_d7_restart_shows_the_other_text_after_a_kill(system: System, chat: str):
    events = await read_while_the_worker_dies(system, chat, "logic", "restart", then={"one": "500"})
    (position,) = [n for n, event in enumerate(events) if event.event == "penstock.restarted"]
    assert text_of(events[position:]) == await simulator_answer(system, "other", PROMPT)
    assert events[-1].data == "[DONE]"


@pytest.mark.parametrize(
    ("rescue", "others_answer"),
    [
        ("hold", True),
        ("error", False),
        *(
            pytest.param(*each, marks=pytest.mark.prove)
            for each in [("error", True), ("restart", True), ("hold", False), ("restart", False)]
        ),
    ],
)
async def test_d7_a_stream_whose_worker_dies_is_one_answer_or_an_error(
    system: System, chat: str, rescue: str, *, others_answer: bool
):
    await system.sim("POST", "reset")
    await system.hold_answers(20)
    headers = {"x-penstock-rescue": rescue}
    reading = asyncio.create_task(read_to_the_end(chat, chat_body(PROMPT, "logic", stream=True), headers))
    await until(lambda: is_called(system, "one"))
    await asyncio.sleep(0.5)  # until the text has arrived, if it is sent
    system.workers[1].kill()
    await system.sim("PUT", "behaviour", {"one": "500", "other": "" if others_answer else "bad-request"})
    await system.release_answers()
    system.workers[1] = system.new_worker("logic")
    await system.workers[1].start()
    events = await reading
    await system.sim("PUT", "behaviour", {"other": ""})

    parts = split_at_restarts(events)
    one, other = [await simulator_answer(system, model, PROMPT) for model in ("one", "other")]
    *before, last = [text_of(part[:-1]) for part in parts]
    assert all(one.startswith(text) for text in before)
    if others_answer and rescue != "error":
        assert last == other
        assert events[-1].data == "[DONE]"
    else:
        assert one.startswith(last), "what was sent is of one generation"
        assert events[-1].json["error"]["message"]
        assert not any(event.data == "[DONE]" for event in events)


async def read_to_the_end(chat: str, body: dict[str, Any], headers: dict[str, str]) -> list[ReceivedEvent]:
    async with open_stream("POST", chat, body, headers=headers) as stream:
        if stream.status != 200:  # nothing was sent before the failure
            return [ReceivedEvent("", "", await stream.response.text())]
        events = [event async for event in stream.events()]
    assert stream.ended
    return events


def split_at_restarts(events: list[ReceivedEvent]) -> list[list[ReceivedEvent]]:
    parts: list[list[ReceivedEvent]] = [[]]
    for event in events:
        if event.event == "penstock.restarted":
            parts[-1].append(event)
            parts.append([])
        else:
            parts[-1].append(event)
    return parts


async def is_called(system: System, model: str) -> bool:
    counts = (await system.sim("GET", "counts"))["models"].get(model, {})
    return bool(counts.get("in_flight", 0) == 1)


async def test_d7_a_whole_answer_survives_a_kill(system: System, chat: str):
    asked = asyncio.create_task(request("POST", chat, chat_body(PROMPT, "chat")))
    await asyncio.sleep(1)
    system.workers[0].kill()
    system.workers[0] = system.new_worker("chat")
    await system.workers[0].start()
    answer = await asked
    assert answer.status == 200
    assert answer.json["choices"][0]["message"]["content"] == await simulator_answer(system, "talker", PROMPT)
