"""H1, H5: an indexer that is killed goes on where it was: nothing is lost, paid twice, or shown to another account."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from penstock.bus.ids import new_id
from penstock.client.client import Client
from penstock.contract.jobs import Job
from penstock.contract.retrieval.documents import Document
from tests.harness.indexer.index_requests import (
    CHUNKS,
    OTHER_MODEL,
    corpus,
    index,
    retrieval_catalogue,
    stored_chunks,
)
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.jobs import job_in_state
from tests.harness.suite.waiting import until

DOCUMENTS = 150
NEIGHBOUR = "neighbour"
"""Another account, with documents of its own in a collection of the same name."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    env = {"PENSTOCK_MAX_DELIVER": "20"}
    directory = tmp_path_factory.mktemp("indexer")
    with shared_system(directory, "all", config=retrieval_catalogue(), env=env, indexers=1) as running:
        yield running


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    """Of an account of its own."""
    async with await system.client(account=new_id()) as connected:
        yield connected


@pytest.fixture
async def neighbour(system: System) -> AsyncIterator[Client]:
    async with await system.client(account=NEIGHBOUR) as connected:
        await index(connected, documents=[Document(id="own", text="A text of the neighbour")])
        await system.sim("POST", "reset")
        yield connected


async def kill_and_restart(system: System) -> None:
    system.indexers[-1].kill()
    system.indexers.append(system.new_indexer())
    await system.indexers[-1].start(60)


async def while_killed(
    system: System, client: Client, job: str, moments: list[Callable[[], Awaitable[bool]]]
) -> Job:
    """Kill the indexer at each moment, and return the job once it has ended."""
    for moment in moments:
        await until(moment, every_s=0.005)
        await kill_and_restart(system)
    return await job_in_state(client, job, "completed", "failed", timeout_s=90)


def expected(count: int) -> dict[str, int]:
    return {each.id: CHUNKS for each in corpus(range(count))}


async def test_h1_killed_while_it_indexes_it_goes_on_and_pays_nothing_twice(
    system: System, client: Client, neighbour: Client
):
    await system.sim("PUT", "speed", {"latency_ms": 150})
    job = await client.index("docs", documents=corpus(range(DOCUMENTS)))

    def after_texts(count: int) -> Callable[[], Awaitable[bool]]:
        async def reached() -> bool:
            return await system.embedded_texts() >= count

        return reached

    ended = await while_killed(system, client, job, [after_texts(1), after_texts(257)])
    await system.sim("PUT", "speed", {"latency_ms": 0})
    assert (ended.state, ended.error) == ("completed", None)
    assert await stored_chunks(client) == expected(DOCUMENTS)
    assert await system.embedded_texts() == DOCUMENTS * CHUNKS, "each text is paid once"
    report = await index(client, documents=corpus(range(DOCUMENTS)))
    assert (report.unchanged, report.embedded, report.chunks) == (DOCUMENTS, 0, DOCUMENTS * CHUNKS)
    assert list(await stored_chunks(neighbour)) == ["own"]


async def test_h1_killed_while_it_deletes_the_deletion_is_honoured(
    system: System, client: Client, neighbour: Client
):
    await index(client, documents=corpus(range(DOCUMENTS)))
    gone = [each.id for each in corpus(range(50, DOCUMENTS))]
    job = await client.index("docs", delete=gone, documents=corpus(range(5), version=1))
    await asyncio.sleep(random.Random(5).uniform(0, 0.3))  # any moment will do
    await kill_and_restart(system)
    ended = await job_in_state(client, job, "completed", "failed", timeout_s=90)
    assert (ended.state, ended.error) == ("completed", None)
    assert await stored_chunks(client) == expected(50)
    answer = await client.search("docs", "What does document 57 say in part 2", top_k=100)
    assert set(gone).isdisjoint(passage.document for passage in answer.passages)
    assert list(await stored_chunks(neighbour)) == ["own"]


async def test_h5_killed_during_a_change_of_model_it_switches_once_and_completely(
    system: System, client: Client, neighbour: Client
):
    await index(client, documents=corpus(range(DOCUMENTS)))
    await system.sim("POST", "reset")
    await system.sim("PUT", "speed", {"latency_ms": 150})
    job = await client.index("docs", model=OTHER_MODEL)

    def after_texts(count: int) -> Callable[[], Awaitable[bool]]:
        async def reached() -> bool:
            return await system.embedded_texts() >= count

        return reached

    await until(after_texts(100), every_s=0.005)
    answer = await client.search("docs", "What does document 7 say in part 2", mode="text")
    assert answer.passages, "search reads the old table meanwhile"
    (status,) = await client.collections()
    assert (status.model, status.building) == ("m-embed", OTHER_MODEL)
    await kill_and_restart(system)
    ended = await job_in_state(client, job, "completed", "failed", timeout_s=90)
    await system.sim("PUT", "speed", {"latency_ms": 0})
    assert (ended.state, ended.error) == ("completed", None)
    (status,) = await client.collections()
    assert (status.model, status.building, status.chunks) == (OTHER_MODEL, "", DOCUMENTS * CHUNKS)
    assert await stored_chunks(client) == expected(DOCUMENTS)
    assert await system.embedded_texts() == DOCUMENTS * CHUNKS
    best = (await client.search("docs", "What does document 7 say in part 2", top_k=1)).passages[0]
    assert best.document == "reports/00007.md"
    assert list(await stored_chunks(neighbour)) == ["own"]


async def test_h5_killed_while_it_drops_nothing_is_left(system: System, client: Client, neighbour: Client):
    index_directory = system.directory / "index"
    await index(client, documents=[Document(id="a", text="obsidian is a glass")])
    job = await client.index("docs", drop=True)
    await kill_and_restart(system)
    ended = await job_in_state(client, job, "completed", "failed", timeout_s=90)
    assert (ended.state, ended.error) == ("completed", None)
    assert await stored_chunks(client) == {}
    assert await stored_chunks(neighbour) == {"own": 1}

    def is_removed() -> bool:
        return not _files_with(index_directory, "obsidian")

    await until(is_removed)


def _files_with(directory: Path, text: str) -> list[Path]:
    found = []
    for path in directory.rglob("*"):
        try:
            if path.is_file() and text.encode() in path.read_bytes():
                found.append(path)
        except FileNotFoundError:
            continue
    return found
