"""A stream is resumed after any event, at another edge process too; a whole answer can be read again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import openai
import pytest
from msgspec import Raw

from penstock.bus.connection import close, connect
from penstock.bus.ids import new_id
from penstock.client.submit import encode_request, submit
from penstock.contract.request import ChatRequest
from services.edge.requests.answer_id import AnswerId
from tests.harness.processes.system import System
from tests.harness.requests.edge_client import (
    ReceivedEvent,
    chat_body,
    open_stream,
    read_stream,
    request,
    text_of,
)
from tests.harness.suite.waiting import until


@pytest.fixture(autouse=True)
async def normal_speed(system: System) -> AsyncIterator[None]:
    yield
    await system.sim("PUT", "speed", {"tokens_per_second": 0, "first_token_ms": 0})


@pytest.mark.parametrize(
    ("model", "rescue"),
    [("coding", "error"), ("creative", "error"), ("logic", "error"), ("logic", "hold"), ("logic", "restart")],
)
async def test_e2_a_stream_resumed_after_any_event_is_the_same(
    chat: str, other: str, system: System, model: str, rescue: str
):
    await system.sim("PUT", "speed", {"tokens_per_second": 100})
    body = chat_body(f"Hello {rescue}", model, stream=True, stream_options={"include_usage": True})
    events = await read_stream("POST", chat, body, headers={"x-penstock-rescue": rescue})
    assert len(events) > 5
    path = f"{other}/{events[0].json['id']}"
    assert await read_stream("GET", path) == events
    for event in events[:-1]:
        expected = events[event.number + 1 :]
        assert await read_stream("GET", path, headers={"last-event-id": event.id}) == expected
        assert await read_stream("GET", f"{path}?starting_after={event.number}") == expected
    assert (await request("GET", f"{path}?starting_after={events[-1].id}")).status == 204
    beyond = await request("GET", f"{path}?starting_after={events[-1].number + 1}")
    assert (beyond.status, beyond.error["param"]) == (400, "starting_after")


async def test_d6_a_restart_in_the_time_in_which_text_is_held_is_invisible(
    chat: str, other: str, system: System
):
    """The role `logic` has a model that breaks after 0.2 s, and one with another answer."""
    await system.sim("PUT", "speed", {"tokens_per_second": 100})
    body = chat_body("Hello briefly [[tokens=300]]", "logic", stream=True)
    headers = {"x-penstock-rescue": "hold:2000"}
    async with open_stream("POST", chat, body, headers=headers) as stream:
        began_s = time.monotonic()
        source = stream.events()
        events = [await anext(source)]
        released_s = time.monotonic() - began_s
        events += [event async for event in source]
        ended_s = time.monotonic() - began_s
    assert events[-1].data == "[DONE]"
    assert ended_s - released_s > 0.2, "the text came before the end"
    path = f"{other}/{events[0].json['id']}"
    assert await read_stream("GET", path) == events
    for event in events[:-1:60]:
        rest = events[event.number + 1 :]
        assert await read_stream("GET", path, headers={"last-event-id": event.id}) == rest


async def test_d6_a_restart_after_the_time_in_which_text_is_held_is_an_error(
    chat: str, other: str, system: System
):
    """The model breaks after a second, long after the text that was held is sent."""
    await system.sim("PUT", "speed", {"tokens_per_second": 20})
    body = chat_body("Hello too briefly [[tokens=100]]", "logic", stream=True)
    events = await read_stream("POST", chat, body, headers={"x-penstock-rescue": "hold:100"})
    assert "error" in events[-1].json
    path = f"{other}/{events[0].json['id']}"
    last_text = events[-2]  # both models begin with the same words; this is where they differ
    [error] = await read_stream("GET", path, headers={"last-event-id": last_text.id})
    assert error.id == events[-1].id
    assert "error" in error.json


async def test_e2_a_running_stream_is_resumed_elsewhere_and_followed_to_its_end(
    chat: str, other: str, system: System
):
    await system.sim("PUT", "speed", {"tokens_per_second": 40})
    body = chat_body("Hello again [[tokens=80]]", stream=True)
    headers = {"x-penstock-on-disconnect": "continue"}
    seen = []
    async with open_stream("POST", chat, body, headers=headers) as stream:
        async for event in stream.events():
            seen.append(event)
            if event.number == 8:
                break
    path = f"{other}/{seen[0].json['id']}"
    rest = await read_stream("GET", path, headers={"last-event-id": seen[-1].id})
    assert [event.number for event in (*seen, *rest)] == list(range(len(seen) + len(rest)))
    assert rest[-1].data == "[DONE]"
    assert text_of([*seen, *rest]) == text_of(await read_stream("GET", path))


async def test_e3_two_readers_follow_one_stream(chat: str, other: str, system: System):
    await system.sim("PUT", "speed", {"tokens_per_second": 40})
    body = chat_body("Hello both [[tokens=60]]", stream=True)
    async with open_stream("POST", chat, body) as stream:
        events = stream.events()
        first = await anext(events)
        path = f"{first.json['id']}"
        readers = [asyncio.create_task(read_stream("GET", f"{each}/{path}")) for each in (chat, other)]
        whole = [first, *[event async for event in events]]
    assert [await reader for reader in readers] == [whole, whole]


async def test_e1_the_sdk_retrieves_a_streamed_answer_as_a_completion(
    chat: str, other: str, ai: openai.AsyncOpenAI, system: System
):
    events = await read_stream("POST", chat, chat_body("Read me whole", "coding", stream=True))
    text_id = events[0].json["id"]
    found = await ai.chat.completions.retrieve(text_id)
    assert (found.id, found.choices[0].message.content) == (text_id, text_of(events))
    assert found.choices[0].finish_reason == "stop"
    assert found.usage is not None
    whole = await request("GET", f"{other}/{text_id}?stream=false")
    assert whole.json == found.model_dump(exclude_unset=True)
    assert await read_stream("GET", f"{other}/{text_id}?stream=true") == events


async def test_d8_a_request_cancelled_by_hanging_up_says_how_to_keep_the_next_one(
    chat: str, other: str, system: System
):
    await system.sim("PUT", "speed", {"tokens_per_second": 20})
    async with open_stream(
        "POST", chat, chat_body("I leave [[tokens=200]]", "coding", stream=True)
    ) as stream:
        events = stream.events()
        text_id = (await anext(events)).json["id"]
    seen = await read_stream("GET", f"{other}/{text_id}")
    error = seen[-1].json["error"]
    assert error["code"] == "cancelled"
    assert "x-penstock-on-disconnect: continue" in error["message"]
    assert "Idempotency-Key" in error["message"]


async def test_e2_a_reader_that_leaves_does_not_cancel_the_request(chat: str, other: str, system: System):
    await system.sim("PUT", "speed", {"tokens_per_second": 40})
    async with open_stream("POST", chat, chat_body("Hello reader [[tokens=60]]", stream=True)) as stream:
        events = stream.events()
        first = await anext(events)
        async with open_stream("GET", f"{other}/{first.json['id']}") as reader:
            await anext(reader.events())
        rest = [event async for event in events]
    assert rest[-1].data == "[DONE]"


async def test_e2_a_whole_answer_is_read_again(chat: str, other: str):
    answer = await request("POST", chat, chat_body("Hello whole"))
    again = await request("GET", f"{other}/{answer.json['id']}")
    assert (again.status, again.body) == (200, answer.body)
    assert again.headers["x-penstock-cost-microusd"] == answer.headers["x-penstock-cost-microusd"]
    odd = await request("GET", f"{other}/{answer.json['id']}?stream=null")
    assert (odd.status, odd.error["param"]) == (400, "stream")


async def test_e2_the_position_of_a_replaced_part_is_a_conflict(chat: str):
    events = await read_stream("POST", chat, chat_body("Hello digest", stream=True))
    path = f"{chat}/{events[0].json['id']}"
    conflict = await request("GET", path, headers={"last-event-id": "2-00000000"})
    assert (conflict.status, conflict.error["code"]) == (409, "restarted")


@pytest.mark.parametrize("position", ["x", "-1", "1.5", "1-xyz", "9" * 30])
async def test_e2_a_position_that_is_none_is_a_400(chat: str, position: str):
    events = await read_stream("POST", chat, chat_body("Hello position", stream=True))
    answer = await request("GET", f"{chat}/{events[0].json['id']}?starting_after={position}")
    assert (answer.status, answer.error["param"]) == (400, "starting_after")


OLD = "019a9f3e-5b7c-7d21-8a40-0c6f1e2d3b4a"


def unknown_id(**fields: Any) -> str:
    given = {"client": "edge", "request_id": id_of_a_request_that_was_stored(), "streamed": True, **fields}
    return AnswerId(**given).text("chatcmpl-")


def id_of_a_request_that_was_stored() -> str:
    """One that was made five minutes ago: a young one may be on its way."""
    created, rest = f"{int((time.time() - 300) * 1000):012x}", new_id()[13:]
    return f"{created[:8]}-{created[8:]}{rest}"


@pytest.mark.parametrize(
    "answer_id", ["chatcmpl-123", unknown_id(request_id=OLD).replace("chatcmpl-", "resp_"), "*", "2%3E-0"]
)
async def test_e2_what_is_no_id_is_a_404(chat: str, answer_id: str):
    answer = await request("GET", f"{chat}/{answer_id}")
    assert (answer.status, answer.error["code"]) == (404, "not_found")


@pytest.mark.parametrize("streamed", [True, False])
async def test_e2_an_id_that_never_existed_is_a_404_at_once_while_work_is_queued(
    chat: str, system: System, *, streamed: bool
):
    await system.hold_answers()
    waiting = [
        asyncio.create_task(request("POST", chat, chat_body(f"Wait {n}", "vision", stream=True)))
        for n in range(3)
    ]
    try:

        async def is_called() -> bool:
            return "vision" in await system.metrics() and await system.attempts() > 0

        await until(is_called)
        async with asyncio.timeout(3):
            answer = await request("GET", f"{chat}/{unknown_id(streamed=streamed)}")
        assert (answer.status, answer.error["code"]) == (404, "not_found")
    finally:
        await system.release_answers()
        await asyncio.gather(*waiting)


async def test_e2_a_request_that_waits_in_its_mailbox_is_followed(chat: str, other: str, system: System):
    await system.hold_answers()
    body = chat_body("Wait here", "vision", stream=True)
    first = asyncio.create_task(read_stream("POST", chat, body))
    async with open_stream("POST", chat, body) as second:
        followed = asyncio.create_task(
            read_stream("GET", f"{other}/{second.headers['x-penstock-answer-id']}")
        )
        await asyncio.sleep(0.5)
        assert not followed.done()
        await system.release_answers()
        events = [event async for event in second.events()]
    assert await followed == events
    assert events[-1].data == "[DONE]"
    await first


async def test_e2_a_request_that_is_still_on_its_way_is_followed(chat: str, other: str, system: System):
    """The edge has sent the id, and NATS has not stored the request yet, as with a large body."""
    waiting = AnswerId(client="late", request_id=new_id(), streamed=True)
    path = f"{other}/{waiting.text('chatcmpl-')}"
    followed = asyncio.create_task(read_stream("GET", path))
    await asyncio.sleep(1)
    assert not followed.done()
    await submit_late(system, waiting)
    events = await asyncio.wait_for(followed, 30)
    assert events[-1].data == "[DONE]"
    assert await read_stream("GET", path) == events


async def submit_late(system: System, waiting: AnswerId) -> None:
    body = Raw(msgspec.json.encode(chat_body("Hello late", stream=True)))
    late = ChatRequest(id=waiting.request_id, client=waiting.client, body=body, role="coding")
    connection = await connect(system.nats.url, name="test")
    await submit(connection, "demo", await encode_request(connection, late), timeout_s=10)
    await close(connection)


async def test_e2_the_form_of_an_answer_cannot_be_changed_in_its_id(chat: str):
    answer = await request("POST", chat, chat_body("Hello form"))
    text_id = answer.json["id"]
    place = len("chatcmpl-")
    changed = [f"{text_id[:place]}{digit}{text_id[place + 1 :]}" for digit in "0123456789abz"]
    found = [(await request("GET", f"{chat}/{each}")).status for each in changed]
    assert found == [200 if each == text_id else 404 for each in changed]


@pytest.mark.parametrize("stream", [True, False])
async def test_e2_a_header_has_the_id_of_the_answer(chat: str, other: str, *, stream: bool):
    answer = await request("POST", chat, chat_body("Hello header", stream=stream))
    again = await request("GET", f"{other}/{answer.headers['x-penstock-answer-id']}")
    assert (again.status, again.body) == (200, answer.body)


async def test_e2_a_client_that_lost_a_held_stream_reads_all_of_it_as_event_source_does(
    chat: str, other: str, system: System
):
    """It has no event when the connection breaks; then it reconnects with the id of the last event, until a 204."""
    await system.sim("PUT", "speed", {"tokens_per_second": 40})
    headers = {"x-penstock-rescue": "hold", "x-penstock-on-disconnect": "continue"}
    body = chat_body("Hello held [[tokens=60]]", stream=True)
    async with open_stream("POST", chat, body, headers=headers) as stream:
        path = f"{other}/{stream.headers['x-penstock-answer-id']}"
    seen: list[ReceivedEvent] = []
    status = 200
    while status == 200:
        last = {"last-event-id": seen[-1].id} if seen else {}
        async with open_stream("GET", path, headers=last) as stream:
            status = stream.status
            async for event in stream.events():
                seen.append(event)
                if len(seen) % 25 == 0:
                    break  # the connection breaks
    assert status == 204
    assert [event.number for event in seen] == list(range(len(seen)))
    assert seen[-1].data == "[DONE]"
    assert len(seen) > 50


async def test_e2_another_account_cannot_read_an_answer(chat: str, system: System):
    answer = await request("POST", chat, chat_body("Hello secret"))
    stranger = system.new_edge(PENSTOCK_ACCOUNT="stranger")
    await stranger.start()
    try:
        path = f"{stranger.ready['url']}/v1/chat/completions/{answer.json['id']}"
        assert (await request("GET", path)).status == 404
    finally:
        stranger.kill()
    await until(lambda: not stranger.alive)
