"""A burst of large bodies meets "too many requests", which ends no request."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator

import aiohttp
import msgspec
import psutil
import pytest

from penstock.cli.local.nats_server import NatsServer
from penstock.client.client import Client
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, shared_system, started
from tests.harness.requests.pictures import conversation
from tests.harness.requests.replies import ask
from tests.harness.suite.waiting import until

BODY = conversation(4)
JSON = {"Content-Type": "application/json"}
REQUESTS, USERS = 16, 4
BURSTS = 5
REFUSALS = "Dropping messages due to excessive stream ingest rate"
GROWTH = 1.3
"""Memory after a burst, as a multiple of that before."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("burst")
    store = directory / "nats" / "store"
    buffers = f'jetstream {{ store_dir: "{store}", max_mem: 1GB, max_file: 10GB, max_buffered_size: 6MB }}\n'
    nats = NatsServer(directory / "nats", extra_config=buffers)
    with shared_system(
        directory, "vision", nats=nats, fresh=True, env={"PENSTOCK_ACK_WAIT_S": "20"}
    ) as running:
        yield running


@pytest.fixture(scope="module")
def edge(system: System) -> Process:
    return started(system.new_edge())


def memory(processes: list[Process]) -> list[int]:
    return [psutil.Process(process.pid).memory_info().rss for process in processes]


async def until_memory_is_back(processes: list[Process], before: list[int]) -> None:
    def grown() -> list[str]:
        """The processes above the limit, each with its bytes now and before."""
        return [
            f"{process.log.name}: {now:,} ({then:,} before)"
            for process, now, then in zip(processes, memory(processes), before, strict=True)
            if now >= GROWTH * then
        ]

    try:
        await until(lambda: not grown(), 30)
    except AssertionError:
        pytest.fail(f"after 30 s still above {GROWTH} times of before: {'; '.join(grown())}")


async def test_a_burst_of_large_bodies_over_nats_is_answered(system: System, client: Client) -> None:
    await ask(client, "warm", role="vision", user="u0")
    processes = [system.router, *system.workers]
    before = memory(processes)

    async def refused_a_burst() -> bool:
        received = await asyncio.gather(
            *(
                ask(client, BODY, role="vision", user=f"u{number % USERS}", timeout_s=60)
                for number in range(REQUESTS)
            )
        )
        assert {each.code for each in received} == {None}
        return REFUSALS in system.nats.log_path.read_text()

    # Where this process gets little of the machine, the server may store a burst as fast as it arrives.
    for _ in range(BURSTS):
        if await refused_a_burst():
            break
    else:
        pytest.fail("the server stored every burst without a refusal")
    await until_memory_is_back(processes, before)


async def test_a_burst_of_large_bodies_over_http_is_answered(system: System, edge: Process) -> None:
    url = f"{edge.ready['url']}/v1/chat/completions"

    async def post(session: aiohttp.ClientSession, number: int) -> int:
        body = {"model": "vision", "messages": BODY, "user": f"u{number % USERS}"}
        async with session.post(url, data=io.BytesIO(msgspec.json.encode(body)), headers=JSON) as answer:
            await answer.read()
            return answer.status

    async with aiohttp.ClientSession() as session:
        assert await post(session, 0) == 200
        processes = [system.router, *system.workers, edge]
        before = memory(processes)
        assert set(await asyncio.gather(*(post(session, number) for number in range(REQUESTS)))) == {200}
    await until_memory_is_back(processes, before)
