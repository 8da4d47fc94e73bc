"""C6: an account whose many index requests wait for their collections and for a slow model delays no other account."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest

from penstock.client.client import Client
from penstock.contract.retrieval.documents import Document
from tests.harness.indexer.index_requests import retrieval_catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.jobs import job_in_state

LATENCY_MS = 3_000
"""Longer than `ack_wait` of the test's system: what waits keeps its delivery."""
REQUESTS = 40
numbers = count()


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("accounts")
    with shared_system(directory, "all", config=retrieval_catalogue(), indexers=1) as running:
        yield running


@pytest.fixture
async def client(system: System, unique: str) -> AsyncIterator[Client]:
    async with await system.client(account=unique) as connected:
        await system.sim("PUT", "speed", {"latency_ms": LATENCY_MS})
        yield connected
        await system.sim("PUT", "speed", {"latency_ms": 0})


async def sent(client: Client, collection: str) -> str:
    """The id of a request with one new document."""
    number = next(numbers)
    return await client.index(collection, documents=[Document(id=f"d{number}", text=f"text number {number}")])


async def timed(client: Client, collection: str) -> float:
    """Seconds that such a request takes."""
    began_s = time.monotonic()
    await job_in_state(client, await sent(client, collection), "completed", timeout_s=60)
    return time.monotonic() - began_s


@pytest.mark.timeout(180)
async def test_c6_many_requests_of_one_account_delay_no_other_account(system: System, client: Client):
    await timed(client, "docs")  # the first one also loads the libraries
    alone_s = await timed(client, "docs")
    jobs = [
        await sent(client, collection)
        for number in range(REQUESTS)
        for collection in ("docs", f"other-{number}")
    ]
    embedded = await system.embedded_texts()
    async with await system.client(account="neighbour") as neighbour:
        beside_s = await timed(neighbour, "docs")
    assert beside_s < 2 * alone_s, (beside_s, alone_s)
    assert await system.embedded_texts() - embedded < REQUESTS, "the others still wait"

    await system.sim("PUT", "speed", {"latency_ms": 0})
    ended = [await job_in_state(client, job, "completed", "failed", timeout_s=120) for job in jobs]
    assert {(job.state, job.attempt) for job in ended} == {("completed", 1)}


async def test_d8_a_request_that_waits_for_its_collection_is_cancelled_at_once(client: Client):
    first = await sent(client, "docs")
    await job_in_state(client, first, "running")
    waiting = await sent(client, "docs")
    await job_in_state(client, waiting, "queued")
    began_s = time.monotonic()
    await client.cancel(waiting)
    ended = await job_in_state(client, waiting, "failed", "cancelled", timeout_s=20)
    assert time.monotonic() - began_s < LATENCY_MS / 1000
    assert (ended.error and ended.error.code) == "cancelled"
    assert (await job_in_state(client, first, "completed", timeout_s=20)).attempt == 1


@pytest.mark.timeout(120)
async def test_d9_requests_that_wait_when_an_indexer_stops_run_in_the_next_one(
    system: System, client: Client
):
    jobs = [await sent(client, "docs") for _ in range(5)]
    await job_in_state(client, jobs[0], "running")
    began_s = time.monotonic()
    assert await system.indexers[-1].terminate(30) == 0
    assert time.monotonic() - began_s < 2 * LATENCY_MS / 1000, "it waits for the running one only"
    system.indexers.append(system.new_indexer())
    await system.indexers[-1].start(60)
    await system.sim("PUT", "speed", {"latency_ms": 0})
    ended = [await job_in_state(client, job, "completed", "failed", timeout_s=60) for job in jobs]
    assert {(job.state, job.attempt) for job in ended} == {("completed", 1)}
