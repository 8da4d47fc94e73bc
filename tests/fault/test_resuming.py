"""E2, E3: a reply can be resumed from another process at any event, and be read by several readers."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from penstock.client.client import Client
from penstock.contract.reply import Completed, ReplyEvent
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system

LONG = "Tell me of the river. [[tokens=40]]"
RESUME = """
import asyncio, json, sys
from penstock import Client

async def main(url, client_name, request_id, after_seq):
    async with await Client.connect(url) as client:
        events = client.resume(request_id, after_seq=int(after_seq), client=client_name, timeout_s=20)
        print(json.dumps([event.seq async for event in events]))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with shared_system(tmp_path_factory.mktemp("resuming"), config=catalogue()) as running:
        yield running


@pytest.fixture(autouse=True)
async def slow_answers(system: System) -> AsyncIterator[None]:
    await system.sim("PUT", "speed", {"tokens_per_second": 40})
    yield
    await system.sim("PUT", "speed", {"tokens_per_second": 0})


async def rest(client: Client, owner: str, request_id: str, after_seq: int) -> list[ReplyEvent]:
    events = client.resume(request_id, after_seq=after_seq, client=owner, timeout_s=20)
    return [event async for event in events]


async def test_e2_a_reply_is_resumed_at_each_event_during_and_after_it(
    system: System, client: Client
) -> None:
    async with await system.client() as other:
        seen: list[ReplyEvent] = []
        resuming: list[asyncio.Task[list[ReplyEvent]]] = []
        stream = client.stream(LONG, role="chat")
        async for event in stream:
            seen.append(event)
            if not isinstance(event, Completed):
                resuming.append(asyncio.create_task(rest(other, client.name, stream.id, event.seq)))
        assert len(resuming) > 10
        for read, events in enumerate(await asyncio.gather(*resuming), start=1):
            assert events == seen[read:]
        for read in range(len(seen) - 1):
            assert await rest(other, client.name, stream.id, seen[read].seq) == seen[read + 1 :]
        assert await rest(other, client.name, stream.id, -1) == seen


async def test_e2_a_stream_detached_before_its_first_event_is_answered(
    system: System, client: Client
) -> None:
    async with await system.client() as asking, asking.stream("Short [[tokens=10]]", role="chat") as stream:
        stream.detach()
    events = await rest(client, asking.name, stream.id, -1)
    assert isinstance(events[-1], Completed)


async def test_e2_another_process_resumes_after_the_last_event(system: System, client: Client) -> None:
    seen: list[int] = []
    stream = client.stream(LONG, role="chat")
    stream.detach()
    async for event in stream:
        seen.append(event.seq)
        if len(seen) == 8:
            break
    await stream.aclose()
    arguments = (system.nats.url, client.name, stream.id, str(seen[-1]))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RESUME, *arguments, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    together = [*seen, *json.loads(out)]
    assert process.returncode == 0
    assert together == [event.seq for event in await rest(client, client.name, stream.id, -1)]


async def test_e3_a_reader_may_join_late_and_another_leave_early(system: System, client: Client) -> None:
    async with await system.client() as late, await system.client() as leaver:
        stream = client.stream(LONG, role="chat")
        seen: list[ReplyEvent] = []
        reading: list[asyncio.Task[list[ReplyEvent]]] = []
        async for event in stream:
            seen.append(event)
            if len(seen) == 5:
                leaving = leaver.resume(stream.id, client=client.name)
                assert (await anext(leaving)).seq == 0
                await leaving.aclose()
            if len(seen) == 10:
                reading = [asyncio.create_task(rest(late, client.name, stream.id, -1)) for _ in range(3)]
        assert isinstance(seen[-1], Completed)
        assert await asyncio.gather(*reading) == [seen] * 3
