"""Index requests through the real system: counts against the simulator, jobs, large bodies, cancellation, models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from penstock.bus.direct_get import read_all
from penstock.client.client import Client
from penstock.contract import subjects
from penstock.contract.reply import Completed, Failed, IndexProgress, Started
from penstock.contract.retrieval.documents import Document
from penstock.contract.streams import BODIES, DEAD
from penstock.contract.subjects import ReplyAddress, body_parts
from penstock.errors import RequestFailed
from tests.harness.indexer.index_requests import OTHER_MODEL, corpus, index, retrieval_catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.jobs import job_in_state
from tests.harness.requests.replies import RawPublisher
from tests.harness.suite.waiting import until


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("indexing")
    with shared_system(directory, "all", config=retrieval_catalogue(), indexers=1) as running:
        yield running


@pytest.fixture
async def client(system: System, unique: str) -> AsyncIterator[Client]:
    """Of an account of its own."""
    async with await system.client(account=unique) as connected:
        await system.sim("POST", "reset")
        yield connected


@pytest.fixture
async def publisher(system: System) -> AsyncIterator[RawPublisher]:
    async for opened in RawPublisher.opened(system):
        yield opened


async def test_h1_a_corpus_is_embedded_once_and_only_changes_after_that(system: System, client: Client):
    first = await index(client, documents=corpus(range(100)))
    assert (first.indexed, first.refused) == (100, ())
    assert first.chunks == first.changed == first.embedded == await system.embedded_texts() >= 300
    assert first.model == "m-embed"

    attempts = await system.attempts()
    again = await index(client, documents=corpus(range(100)))
    assert (again.unchanged, again.embedded, again.cost_microusd) == (100, 0, 0)
    assert await system.attempts() == attempts, "an unchanged corpus makes no provider call"

    changed = await index(client, documents=[*corpus(range(2), version=1), *corpus(range(2, 100))])
    assert (changed.indexed, changed.unchanged) == (2, 98)
    assert changed.changed == changed.embedded == 2
    assert await system.embedded_texts() == first.embedded + 2


async def test_h1_deleted_and_shrunk_documents_leave_nothing(client: Client):
    await index(client, documents=corpus(range(5)))
    report = await index(
        client, documents=[Document(id="reports/00000.md", text="short")], delete=["reports/00001.md"]
    )
    assert report.deleted == 1
    listed = await client.documents("docs")
    assert [(each.id, each.chunks) for each in listed.documents][:2] == [
        ("reports/00000.md", 1),
        ("reports/00002.md", 3),
    ]
    for mode in ("vector", "text", "hybrid"):
        answer = await client.search("docs", "What does document 1 say in part 2", top_k=100, mode=mode)
        assert "reports/00001.md" not in {passage.document for passage in answer.passages}
    (status,) = await client.collections()
    assert (status.documents, status.chunks) == (4, 10)


async def test_h1_progress_then_completed(client: Client):
    async with client.index_stream("docs", documents=corpus(range(400)), timeout_s=60) as stream:
        events = [event async for event in stream]
    kinds = [type(event) for event in events]
    assert kinds.count(Started) == 1
    assert isinstance(events[-1], Completed)
    progress = [event for event in events if isinstance(event, IndexProgress)]
    assert progress
    assert all(event.documents == 400 for event in progress)
    assert [event.done for event in progress] == sorted(event.done for event in progress)


async def test_h1_a_request_of_the_batch_lane_is_a_job(system: System, client: Client):
    id_ = await client.index("docs", documents=corpus(range(3)))
    job = await job_in_state(client, id_, "completed")
    assert (job.role, job.attempt, job.worker) == ("index", 1, system.indexers[0].ready["instance"])


async def test_h1_a_large_body_is_read_and_deleted(client: Client, publisher: RawPublisher, unique: str):
    padding = 2_000_000 * " "  # takes space in the request, and makes no chunks
    documents = [Document(id=f"d{number}", text=f"{number}{padding}word") for number in range(5)]
    before = await publisher.js.stream_info(BODIES.name)
    report = await index(client, documents=documents)
    assert report.indexed == 5
    after = await publisher.js.stream_info(BODIES.name)
    assert after.state.last_seq > before.state.last_seq, "the body was not stored apart from the request"
    parts = body_parts(ReplyAddress(unique, client.name, "*"))

    async def is_deleted() -> bool:
        return not [msg async for msg in read_all(publisher.nc, BODIES.name, parts)]

    await until(is_deleted)


async def test_f4_replies_jobs_and_reports_count_attempts_at_models_without_a_price(
    client: Client, unique: str
):
    answer = await client.chat("Hello", role="chat")
    vectors = await client.embed([f"A text of {unique}"])
    chat_job = await job_in_state(client, await client.submit("Hello", role="chat"), "completed")
    assert answer.unpriced_attempts == vectors.unpriced_attempts == chat_job.unpriced_attempts == 1
    result = await client.result(chat_job.id)
    assert result is not None
    assert result.unpriced_attempts == 1

    def documents(text: str) -> list[Document]:
        """New ones: a text that another test has indexed is not embedded again."""
        return [Document(id=f"{unique}-{number}", text=f"{text} {number} of {unique}") for number in range(3)]

    submitted = await client.index("docs", documents=documents("First text"))
    index_job = await job_in_state(client, submitted, "completed")
    assert index_job.unpriced_attempts == 1
    report = await index(client, documents=documents("Second text"))
    assert (report.embedded, report.unpriced_attempts, report.cost_microusd) == (3, 1, 0)


async def test_d8_a_cancelled_request_stops(system: System, client: Client):
    await system.sim("PUT", "speed", {"latency_ms": 500})
    events = []
    try:
        async with client.index_stream("docs", documents=corpus(range(900))) as stream:
            async for event in stream:
                events.append(event)
                if isinstance(event, Started):
                    await client.cancel(stream.id)
    finally:
        await system.sim("PUT", "speed", {"latency_ms": 0})
    assert isinstance(events[-1], Failed)
    assert events[-1].error.code == "cancelled"


async def test_h5_a_change_of_model_while_searches_go_on(system: System, client: Client):
    first = await index(client, documents=corpus(range(150)))
    models: list[str] = []

    async def search() -> None:
        while True:
            answer = await client.search("docs", "What does document 7 say in part 2", top_k=3)
            assert answer.passages[0].document == "reports/00007.md"
            models.append(answer.model)

    searching = asyncio.create_task(search())
    try:
        report = await index(client, model=OTHER_MODEL)
        await until(lambda: models[-1:] == [OTHER_MODEL] or searching.done())
    finally:
        searching.cancel()
        failed = await asyncio.gather(searching, return_exceptions=True)
    assert isinstance(failed[0], asyncio.CancelledError)
    assert (report.model, report.embedded) == (OTHER_MODEL, first.chunks)
    assert models == sorted(models), "from the old model to the new one, once"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model": "nothing", "documents": [Document(id="a", text="t")]}, "invalid_request"),
        ({"dimensions": 100_000, "documents": [Document(id="a", text="t")]}, "invalid_request"),
        ({"documents": [Document(id="a", text="t"), Document(id="a", text="u")]}, "invalid_request"),
    ],
)
async def test_h1_a_wrong_request_fails_with_a_clear_error(
    client: Client, change: dict[str, object], code: str
):
    with pytest.raises(RequestFailed) as failed:
        await index(client, **change)
    assert failed.value.code == code


async def test_d7_a_message_that_is_no_work_becomes_a_dead_letter(publisher: RawPublisher):
    await publisher.nc.jetstream().publish(subjects.work("index", "batch", 0, "x"), b'{"type":"nothing"}')

    async def is_dead() -> bool:
        return bool([msg async for msg in read_all(publisher.nc, DEAD.name, subjects.dead("index"))])

    await until(is_dead)
