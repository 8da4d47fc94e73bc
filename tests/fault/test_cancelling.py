"""D8: cancelling a request or leaving its stream stops the provider; a cancelled queued request is dropped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from penstock.client.client import Client
from penstock.client.stream import Stream
from penstock.contract.reply import TERMINAL, Delta, Failed, ReplyEvent
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.replies import RawPublisher, ask
from tests.harness.suite.waiting import until

LONG = "Tell me everything [[tokens=2000]]"
CHAINS = {"chat": ("talker",), "logic": ("narrow",), "coding": ("busy",), "fast": ("unserved",)}
MODELS = {"narrow": {"limits": {"requests_per_minute": 1}}}
WORKERS = ("chat,logic,coding", "fast")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue(CHAINS, models=MODELS, breaker={"failure_threshold": 10_000})
    with shared_system(tmp_path_factory.mktemp("cancelling"), *WORKERS, config=config) as running:
        yield running


@pytest.fixture(autouse=True)
async def slow_answers(system: System) -> AsyncIterator[None]:
    await system.sim("POST", "reset")
    await system.sim("PUT", "speed", {"tokens_per_second": 50})
    yield
    await system.sim("PUT", "speed", {"tokens_per_second": 0})


async def test_d8_a_cancel_in_mid_stream_stops_the_provider_within_a_second(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    stream = client.stream(LONG, role="chat")
    events: list[ReplyEvent] = []
    async for event in stream:
        events.append(event)
        if isinstance(event, Delta) and len(events) == 6:
            await client.cancel(stream.id, "changed my mind")
            cancelled_s = time.monotonic()

    assert isinstance(events[-1], Failed)
    assert events[-1].error.code == "cancelled"
    assert events[-1].error.retry == "never"
    assert time.monotonic() - cancelled_s < 1
    await until(lambda: _cancelled(system, "talker", 1), 1.0)
    stored = await publisher.stored(stream.id, client=client.name)
    assert [type(event) for event in stored if isinstance(event, TERMINAL)] == [Failed]
    counts = await system.sim("GET", "counts")
    assert counts["models"]["talker"]["completion_tokens"] < 200


async def test_d8_leaving_the_stream_stops_the_provider(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    async with client.stream(LONG, role="chat") as stream:
        async for event in stream:
            if isinstance(event, Delta):
                break

    await until(lambda: _cancelled(system, "talker", 1), 1.0)
    end = await publisher.end(stream.id, client=client.name)
    assert isinstance(end, Failed)
    assert end.error.code == "cancelled"


async def test_d8_an_early_cancel_stops_the_provider(system: System, client: Client) -> None:
    """A cancellation may arrive with any acknowledgement: of the request, or of the first event of the answer."""
    reading = []
    for delay_ms in range(1, 31):
        reading.append(asyncio.create_task(_read(client.stream(LONG, role="chat"))))
        await asyncio.sleep(delay_ms / 3000)
        reading[-1].cancel()
    _, left = await asyncio.wait(reading, timeout=1)
    assert left == set()
    assert all(task.cancelled() for task in reading)
    await asyncio.sleep(0.5)  # each worker has received the last cancel event

    async def all_stopped() -> bool:
        counts = (await system.sim("GET", "counts"))["models"].get("talker", {})
        return counts.get("in_flight", 0) == 0 and counts.get("attempts", 0) == counts.get("cancelled", 0)

    await until(all_stopped, 2.0)


async def test_d8_a_whole_reply_is_cancelled_while_the_provider_makes_it(
    system: System, client: Client
) -> None:
    stream = client.stream(LONG, role="chat", stream=False)
    asked = asyncio.create_task(_events(stream))
    await until(lambda: _in_flight(system, "talker"))

    await client.cancel(stream.id)

    events = await asked
    assert isinstance(events[-1], Failed)
    assert events[-1].error.code == "cancelled"
    await until(lambda: _cancelled(system, "talker", 1), 1.0)


async def test_d8_a_detached_stream_continues_to_its_end(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    await system.sim("PUT", "speed", {"tokens_per_second": 200})
    async with client.stream("Short [[tokens=60]]", role="chat") as stream:
        async for event in stream:
            if isinstance(event, Delta):
                stream.detach()
                break

    assert type(await publisher.end(stream.id, client=client.name)).__name__ == "Completed"


async def test_d8_a_cancelled_request_that_waits_for_quota_is_never_sent(
    system: System, client: Client
) -> None:
    await system.sim("PUT", "speed", {"tokens_per_second": 0})
    assert (await ask(client, "Takes the only permit", role="logic")).completed.model == "narrow"
    # One permit a minute: admission rejects a request that would miss its deadline, so the deadline is late.
    streams = [client.stream(f"Waits {n}", role="logic", timeout_s=900) for n in range(5)]
    asked = [asyncio.create_task(_events(stream)) for stream in streams]
    await asyncio.sleep(0.3)
    assert not any(task.done() for task in asked)

    began_s = time.monotonic()
    for stream in streams:
        await client.cancel(stream.id)
    ends = [events[-1] for events in await asyncio.gather(*asked)]

    assert time.monotonic() - began_s < 10
    assert [end.error.code for end in ends if isinstance(end, Failed)] == ["cancelled"] * 5
    longest = max(
        (end.timings for end in ends if isinstance(end, Failed)), key=lambda timings: timings.waited_ms
    )
    assert 100 < longest.waited_ms <= longest.total_ms
    assert await system.attempts("narrow") == 1


async def test_d8_a_cancelled_request_without_a_worker_is_never_sent(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    system.workers[1].kill()
    stream = client.stream("No worker is there", role="fast", timeout_s=60)
    asked = asyncio.create_task(_events(stream))
    await until(lambda: _accepted(publisher, client, stream.id))

    began_s = time.monotonic()
    await client.cancel(stream.id)
    events = await asked

    assert isinstance(events[-1], Failed)
    assert events[-1].error.code == "cancelled"
    assert time.monotonic() - began_s < 10
    system.workers[1] = system.new_worker("fast")
    await system.workers[1].start()
    assert (await ask(client, "Back again", role="fast")).completed.model == "unserved"
    assert await system.attempts("unserved") == 1


async def test_d8_a_cancel_that_overtakes_its_request_is_kept(system: System, client: Client) -> None:
    stream = client.stream("Too late", role="coding")
    await client.cancel(stream.id)
    await client._nc.flush()

    events = await _events(stream)

    assert isinstance(events[-1], Failed)
    assert events[-1].error.code == "cancelled"
    assert await system.attempts("busy") == 0


async def test_d8_another_account_cannot_cancel(system: System, client: Client) -> None:
    await system.sim("PUT", "speed", {"tokens_per_second": 200})
    async with await system.client(account="stranger") as stranger:
        stream = client.stream("Mine [[tokens=60]]", role="chat")
        cancelled = False
        async for event in stream:
            if isinstance(event, Delta) and not cancelled:
                await stranger.cancel(stream.id)
                cancelled = True
        assert cancelled
        assert type(event).__name__ == "Completed"


async def _read(stream: Stream) -> None:
    async with stream:
        async for _ in stream:
            pass


async def _events(stream: object) -> list[ReplyEvent]:
    return [event async for event in stream]  # type: ignore[attr-defined]


async def _cancelled(system: System, model: str, times: int) -> bool:
    counts = await system.sim("GET", "counts")
    return counts["models"].get(model, {}).get("cancelled", 0) == times


async def _in_flight(system: System, model: str) -> bool:
    counts = await system.sim("GET", "counts")
    return counts["models"].get(model, {}).get("in_flight", 0) > 0


async def _accepted(publisher: RawPublisher, client: Client, request_id: str) -> bool:
    return bool(await publisher.stored(request_id, client=client.name))
