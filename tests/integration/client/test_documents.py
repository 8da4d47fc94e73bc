"""H1, H3, K2: documents through the client, with the real router, worker and indexer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from penstock import Client, Document, IndexProgress, RequestFailed, UnknownCollection, UnknownJob
from penstock.bus.ids import new_id
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.suite.waiting import until

NOON = Document(id="pump.md", text="The pump starts at noon.", metadata={"language": "en"})
BLUE = Document(id="sky.md", text="The sky is blue.", metadata={"language": "de"})


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue(
        {"embed": ("small",)},
        models={"small": {"context_tokens": 8_191, "embedding": {"dimensions": 256, "shortens": True}}},
        retrieval={},
    )
    directory = tmp_path_factory.mktemp("documents")
    with shared_system(directory, "chat,embed", config=config, indexers=1) as running:
        yield running


@pytest.fixture
async def indexing(system: System) -> AsyncIterator[Client]:
    async with await system.client() as connected:
        yield connected


@pytest.fixture
def collection() -> str:
    return f"c-{new_id()}"


async def test_h1_h3_documents_are_indexed_found_listed_and_deleted(
    indexing: Client, collection: str
) -> None:
    progress: list[IndexProgress] = []
    report = await indexing.index_and_wait(
        collection, documents=[NOON, BLUE], on_progress=progress.append, timeout_s=60
    )
    assert (report.indexed, report.chunks, report.refused) == (2, 2, ())
    assert {event.documents for event in progress} == {2}
    found = await indexing.search(collection, "When does the pump start?", filters={"language": "en"})
    assert [passage.document for passage in found.passages] == ["pump.md"]
    assert found.passages[0].text == NOON.text
    (status,) = await indexing.collections(collection)
    assert (status.documents, status.model, status.dimensions) == (2, "small", 256)
    listed = await indexing.documents(collection, limit=1)
    assert ([each.id for each in listed.documents], listed.more) == (["pump.md"], True)
    again = await indexing.index_and_wait(collection, documents=[NOON], delete=["sky.md"], timeout_s=60)
    assert (again.unchanged, again.deleted, again.embedded) == (1, 1, 0)
    assert not (await indexing.documents(collection, after="pump.md")).documents
    reply = await indexing.chat("When does the pump start?", role="chat", rag=collection, timeout_s=60)
    assert [citation.document for citation in reply.citations] == ["pump.md"]


async def test_h1_the_report_of_a_job_is_its_result(indexing: Client, collection: str) -> None:
    request_id = await indexing.index(collection, documents=[NOON], timeout_s=60)

    async def has_ended() -> bool:
        try:
            return (await indexing.job(request_id)).ended
        except UnknownJob:
            return False

    await until(has_ended)
    result = await indexing.result(request_id)
    assert result is not None
    assert result.response is not None
    assert (result.response["collection"], result.response["indexed"]) == (collection, 1)
    events = [event async for event in indexing.resume(request_id)]
    assert [type(event).__name__ for event in events if not isinstance(event, IndexProgress)] == [
        "Accepted",
        "Started",
        "Completed",
    ]


async def test_k2_an_unknown_collection_is_named(indexing: Client, collection: str) -> None:
    with pytest.raises(UnknownCollection, match=collection):
        await indexing.search(collection, "what?")
    with pytest.raises(RequestFailed) as raised:
        await indexing.chat("what?", role="chat", rag=collection, timeout_s=60)
    assert raised.value.code == "unknown_collection"
