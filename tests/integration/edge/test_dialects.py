"""What holds in every dialect: a broken answer never looks whole, and hanging up cancels."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.harness.processes.system import System
from tests.harness.requests.dialects import DIALECTS, Dialect, last_part, looks_whole
from tests.harness.requests.edge_client import open_stream, read_stream, request
from tests.harness.requests.replies import simulator_answer
from tests.harness.suite.waiting import until

LONG = "Tell me everything [[tokens=2000]]"


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return DIALECTS[request.param]


@pytest.fixture(autouse=True)
async def fast_answers(system: System) -> AsyncIterator[None]:
    await system.sim("POST", "reset")
    yield
    await system.sim("PUT", "speed", {"tokens_per_second": 0, "first_token_ms": 0, "latency_ms": 0})
    await system.sim("PUT", "behaviour", dict.fromkeys(("coder", "one", "other", "poet", "broken"), ""))


@pytest.mark.parametrize("rescue", ["error", "hold", "restart"])
async def test_d6_a_truncated_stream_never_looks_whole(url: str, dialect: Dialect, rescue: str):
    body = {"model": "safety", "stream": True, **dialect.body("Hello")}
    async with open_stream("POST", url + dialect.path, body, headers={"x-penstock-rescue": rescue}) as stream:
        if rescue == "hold":
            assert stream.status == 503, "nothing was sent before the failure"
            assert (await stream.response.json())["error"]["message"]
            return
        events = [event async for event in stream.events()]
    assert stream.ended
    assert dialect.text_of(events)
    assert events[-1].event == dialect.error
    assert "error" in events[-1].data
    assert not looks_whole(dialect, events)


async def test_d6_a_truncated_whole_answer_is_an_error(url: str, dialect: Dialect):
    answer = await request("POST", url + dialect.path, {"model": "safety", **dialect.body("Hello")})
    assert answer.status == 503
    assert answer.error["message"]


@pytest.mark.parametrize(
    ("model", "rescue", "answered_by"),
    [("creative", "error", "poet"), ("logic", "hold", "other"), ("logic", "restart", "other")],
)
async def test_d6_a_rescued_stream_is_one_whole_answer(
    url: str, system: System, dialect: Dialect, model: str, rescue: str, answered_by: str
):
    prompt = "Hello rescued [[tokens=60]]"
    body = {"model": model, "stream": True, **dialect.body(prompt)}
    events = await read_stream("POST", url + dialect.path, body, headers={"x-penstock-rescue": rescue})
    assert dialect.text_of(last_part(events)) == await simulator_answer(system, answered_by, prompt)
    assert looks_whole(dialect, events[-1:])
    assert [event.number for event in events] == list(range(len(events)))
    whole = await request("POST", url + dialect.path, {"model": model, **dialect.body(prompt)})
    assert dialect.whole_text_of(whole.json) == dialect.text_of(last_part(events))


async def test_d6_another_text_after_a_break_ends_in_an_error(url: str, system: System, dialect: Dialect):
    # The first model breaks off after 20 tokens, a second here: had the worker received all before it sent any, the
    # second model would have answered instead.
    await system.sim("PUT", "speed", {"tokens_per_second": 20})
    body = {"model": "logic", "stream": True, **dialect.body(LONG)}
    events = await read_stream("POST", url + dialect.path, body)
    text = dialect.text_of(events)
    assert text
    await system.sim("PUT", "speed", {"tokens_per_second": 0})
    assert (await simulator_answer(system, "one", LONG)).startswith(text)
    assert "x-penstock-rescue" in events[-1].data
    assert not looks_whole(dialect, events)


async def test_d8_hanging_up_on_a_stream_cancels_the_call(url: str, system: System, dialect: Dialect):
    await system.sim("PUT", "speed", {"tokens_per_second": 50})
    body = {"model": "coding", "stream": True, **dialect.body(LONG)}
    async with open_stream("POST", url + dialect.path, body) as stream:
        async for event in stream.events():
            if event.number == 8:
                break
    assert await until(lambda: cancelled(system), 2.0) < 1.0


async def test_d8_hanging_up_on_a_whole_answer_cancels_the_call(url: str, system: System, dialect: Dialect):
    await system.sim("PUT", "speed", {"tokens_per_second": 50})
    body = {"model": "coding", **dialect.body(LONG)}
    with pytest.raises(TimeoutError):
        await request("POST", url + dialect.path, body, timeout_s=0.5)
    assert await until(lambda: cancelled(system), 2.0) < 1.0


async def test_d10_an_error_after_the_status_is_the_last_event(url: str, system: System, dialect: Dialect):
    await system.sim("PUT", "speed", {"latency_ms": 1_000})
    await system.sim("PUT", "behaviour", {"coder": "bad-request"})
    body = {"model": "coding", "stream": True, **dialect.body("Hello")}
    events = await read_stream("POST", url + dialect.path, body)
    assert events[-1].event == dialect.error
    assert "provider_refused" in events[-1].data
    assert not looks_whole(dialect, events)


async def cancelled(system: System) -> bool:
    counts = await system.sim("GET", "counts")
    return bool(counts["models"].get("coder", {}).get("cancelled", 0) > 0)
