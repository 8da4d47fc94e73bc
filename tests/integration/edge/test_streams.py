"""The server-sent events of a stream: ids, status, comments, disconnection, and what a further attempt does."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from itertools import pairwise

import openai
import pytest

from tests.harness.processes.system import System
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

LONG = "Tell me everything [[tokens=2000]]"


@pytest.fixture(autouse=True)
async def fast_answers(system: System) -> AsyncIterator[None]:
    await system.sim("POST", "reset")
    yield
    await system.sim("PUT", "speed", {"tokens_per_second": 0, "first_token_ms": 0, "latency_ms": 0})
    await system.sim("PUT", "behaviour", dict.fromkeys(("coder", "one", "other", "poet", "broken"), ""))
    await system.release_answers()


def assert_numbered(events: list[ReceivedEvent], first: int = 0) -> None:
    assert [event.number for event in events] == list(range(first, first + len(events)))


async def test_e2_every_event_has_an_id_and_done_comes_last(chat: str):
    async with open_stream("POST", chat, chat_body("Hello", stream=True)) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-cache"
        assert stream.headers["x-penstock-role"] == "coding"
        assert stream.headers["x-penstock-attempts"] == "1"
        events = [event async for event in stream.events()]
    assert_numbered(events)
    assert [event.data == "[DONE]" for event in events] == [False] * (len(events) - 1) + [True]
    assert stream.comments == []


async def test_e1_the_status_waits_for_the_first_delta(chat: str, system: System):
    """An error after 0.3 s still has a status of its own."""
    await system.sim("PUT", "speed", {"latency_ms": 300})
    await system.sim("PUT", "behaviour", {"coder": "bad-request"})
    answer = await request("POST", chat, chat_body("Hello", stream=True))
    assert answer.status == 400
    assert answer.error["code"] == "provider_refused"


async def test_e1_a_waiting_stream_gets_comments_at_most_once_a_second(chat: str, system: System):
    await system.sim("PUT", "speed", {"first_token_ms": 3_000})
    async with open_stream("POST", chat, chat_body("Hello", stream=True)) as stream:
        events = [event async for event in stream.events()]
    times_s = [at_s for at_s, _ in stream.comments]
    assert 2 <= len(times_s) <= 4
    assert all(later - earlier > 0.8 for earlier, later in pairwise(times_s))
    assert {text for _, text in stream.comments} == {"waiting for coder"}
    assert events[-1].data == "[DONE]"
    assert_numbered(events)


async def test_c3_the_comments_of_a_queued_stream_have_its_position(chat: str, system: System):
    """The role has one slot."""
    await system.sim("PUT", "speed", {"tokens_per_second": 20})
    body = chat_body("Hello queue [[tokens=60]]", "vision", stream=True)
    async with open_stream("POST", chat, body) as first:
        await anext(first.events())
        async with open_stream("POST", chat, body) as second:
            assert second.status == 200
            events = second.events()
            await anext(events)
    queued = [text for _, text in second.comments if text.startswith("queued")]
    assert queued
    assert all(re.fullmatch(r"queued position=\d+( wait_s=[\d.]+)?", text) for text in queued), queued


async def test_d10_an_error_after_the_status_is_an_error_event_without_done(
    ai: openai.AsyncOpenAI, chat: str, system: System
):
    await system.sim("PUT", "speed", {"latency_ms": 1_000})
    await system.sim("PUT", "behaviour", {"coder": "bad-request"})
    async with open_stream("POST", chat, chat_body("Hello", stream=True)) as stream:
        assert stream.status == 200
        (event,) = [event async for event in stream.events()]
    assert event.json["error"]["code"] == "provider_refused"
    assert stream.ended

    with pytest.raises(openai.APIError) as failed:
        async for _ in await ai.chat.completions.create(
            model="coding", messages=[{"role": "user", "content": "Hello"}], stream=True
        ):
            pass
    assert failed.value.code == "provider_refused"


async def test_d8_hanging_up_cancels_the_call_of_the_provider(chat: str, system: System):
    await system.sim("PUT", "speed", {"tokens_per_second": 50})
    async with open_stream("POST", chat, chat_body(LONG, stream=True)) as stream:
        async for event in stream.events():
            if event.number == 5:
                break
    assert await until(lambda: cancelled(system, "coder"), 2.0) < 1.0


async def test_d8_hanging_up_while_a_whole_answer_is_made_cancels_it(chat: str, system: System):
    await system.sim("PUT", "speed", {"tokens_per_second": 50})
    with pytest.raises(TimeoutError):
        await request("POST", chat, chat_body(LONG), timeout_s=0.5)
    assert await until(lambda: cancelled(system, "coder"), 2.0) < 1.0


async def test_e4_with_continue_the_answer_is_made_after_hanging_up(chat: str, system: System):
    await system.sim("PUT", "speed", {"tokens_per_second": 50})
    prompt = "A short one [[tokens=60]]"
    headers = {"x-penstock-on-disconnect": "continue"}
    async with open_stream("POST", chat, chat_body(prompt, stream=True), headers=headers) as stream:
        async for event in stream.events():
            if event.number == 5:
                break
    rest = await read_stream("GET", f"{chat}/{event.json['id']}", headers={"last-event-id": event.id})
    assert rest[-1].data == "[DONE]"
    assert_numbered(rest, 6)
    assert not await cancelled(system, "coder")


async def test_d6_another_attempt_that_repeats_the_text_continues_the_stream(chat: str, system: System):
    events = await read_stream("POST", chat, chat_body("Hello there", "creative", stream=True))
    assert text_of(events) == await simulator_answer(system, "poet", "Hello there")
    assert events[-1].data == "[DONE]"
    assert_numbered(events)
    models = {event.json["model"] for event in events[:-1]}
    assert models == {"poet--cut=5", "poet"}, "the last chunk names the model that finished the answer"


async def test_d6_another_attempt_with_another_text_ends_in_an_error(chat: str, system: System):
    await system.sim("PUT", "speed", {"tokens_per_second": 200})
    async with open_stream("POST", chat, chat_body(LONG, "logic", stream=True)) as stream:
        events = [event async for event in stream.events()]
    *chunks, last = events
    await system.sim("PUT", "speed", {"tokens_per_second": 0})
    whole = await simulator_answer(system, "one", LONG)
    assert whole.startswith(text_of(chunks))
    assert text_of(chunks)
    assert last.json["error"]["code"] == "provider_unavailable"
    assert "x-penstock-rescue" in last.json["error"]["message"]
    assert not any(event.data == "[DONE]" for event in events)
    await until(lambda: cancelled(system, "other"))


async def test_d6_hold_shows_only_the_whole_answer(chat: str, system: System):
    headers = {"x-penstock-rescue": "hold"}
    events = await read_stream("POST", chat, chat_body("Hello", "logic", stream=True), headers=headers)
    assert text_of(events) == await simulator_answer(system, "other", "Hello")
    assert {event.json["model"] for event in events[:-1]} == {"other"}
    assert events[-1].data == "[DONE]"
    assert_numbered(events)


async def test_d6_restart_tells_the_client_to_discard(chat: str, system: System):
    headers = {"x-penstock-rescue": "restart"}
    events = await read_stream("POST", chat, chat_body("Hello", "logic", stream=True), headers=headers)
    (position,) = [n for n, event in enumerate(events) if event.event == "penstock.restarted"]
    before, after = events[:position], events[position + 1 :]
    assert text_of(before)
    assert text_of(after) == await simulator_answer(system, "other", "Hello")
    assert after[0].json["choices"][0]["delta"]["role"] == "assistant"
    assert after[-1].data == "[DONE]"
    assert_numbered(events)


@pytest.mark.parametrize("rescue", ["error", "hold", "restart"])
async def test_d6_no_attempt_left_is_an_error_and_no_end(chat: str, rescue: str):
    async with open_stream(
        "POST", chat, chat_body("Hello", "safety", stream=True), headers={"x-penstock-rescue": rescue}
    ) as stream:
        events = [event async for event in stream.events()] if stream.status == 200 else []
    if rescue == "hold":
        assert stream.status == 503, "nothing was sent before the failure"
        return
    assert events[-1].json["error"]["code"] == "provider_unavailable"
    assert not any(event.data == "[DONE]" for event in events)


async def test_k5_the_trace_of_the_caller_goes_on(system: System, chat: str):
    headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    answer = await request("POST", chat, chat_body("Hello"), headers=headers)
    assert answer.headers["x-penstock-trace-id"] == "0af7651916cd43dd8448eb211c80319c"


async def test_c3_a_deadline_of_the_request_is_kept(chat: str, system: System):
    await system.sim("PUT", "speed", {"first_token_ms": 5_000})
    began_s = time.monotonic()
    answer = await request("POST", chat, chat_body("Hello"), headers={"x-penstock-timeout-s": "1"})
    assert answer.status == 504
    assert time.monotonic() - began_s < 4


async def cancelled(system: System, model: str) -> bool:
    counts = await system.sim("GET", "counts")
    return bool(counts["models"].get(model, {}).get("cancelled", 0) > 0)
