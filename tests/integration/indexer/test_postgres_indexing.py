"""H5: the same indexer with PostgreSQL as its store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from penstock.bus.ids import new_id
from penstock.client.client import Client
from penstock.errors import RetrievalUnavailable
from tests.harness.indexer.index_requests import (
    CHUNKS,
    OTHER_MODEL,
    corpus,
    index,
    retrieval_catalogue,
    stored_chunks,
)
from tests.harness.indexer.postgres_server import PostgresServer
from tests.harness.processes.system import System, shared_system
from tests.harness.suite.waiting import until


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, postgres_url: str) -> Iterator[System]:
    config = retrieval_catalogue({"store": {"kind": "postgres"}})
    env = {"PENSTOCK_INDEX_URL": postgres_url}
    directory = tmp_path_factory.mktemp("postgres")
    with shared_system(directory, "embed,embed_other", config=config, env=env, indexers=1) as running:
        yield running


async def test_h5_documents_are_indexed_found_changed_and_dropped_in_postgresql(system: System):
    async with await system.client(account=new_id()) as client:
        first = await index(client, documents=corpus(range(30)))
        assert (first.indexed, first.embedded) == (30, 30 * CHUNKS)
        changed = await index(client, documents=corpus(range(30), version=1), delete=["reports/90000.md"])
        assert (changed.embedded, changed.chunks_deleted) == (30, 30)
        await index(client, delete=["reports/00003.md"])
        assert await stored_chunks(client) == {
            each.id: CHUNKS for each in corpus(range(30)) if "00003" not in each.id
        }
        for mode in ("hybrid", "vector", "text"):
            answer = await client.search("docs", "What does document 7 say in part 2", mode=mode)
            assert answer.passages[0].document == "reports/00007.md"
        report = await index(client, model=OTHER_MODEL)
        assert report.model == OTHER_MODEL
        assert (await client.search("docs", "What does document 8 say in part 2")).model == OTHER_MODEL
        assert (await index(client, drop=True)).deleted == 29
        assert await client.collections() == ()


async def test_h5_a_killed_postgresql_is_unavailable_and_loses_nothing(
    system: System, postgres_server: PostgresServer
):
    async with await system.client(account=new_id()) as client:
        await index(client, documents=corpus(range(10)))
        indexing = asyncio.create_task(index(client, documents=corpus(range(10, 310))))
        await until(lambda: _has_more_than(client, 10), timeout_s=60)
        await asyncio.to_thread(postgres_server.kill)
        try:
            with pytest.raises(RetrievalUnavailable) as unavailable:
                await client.search("docs", "What does document 7 say in part 2", timeout_s=30)
            assert unavailable.value.retry_after_s
            assert not indexing.done()
        finally:
            await asyncio.to_thread(postgres_server.start)
        report = await indexing
        assert (report.indexed + report.unchanged, report.refused) == (300, ())
        assert await stored_chunks(client) == {each.id: CHUNKS for each in corpus(range(310))}
        answer = await client.search("docs", "What does document 7 say in part 2")
        assert answer.passages[0].document == "reports/00007.md"


async def _has_more_than(client: Client, documents: int) -> bool:
    (status,) = await client.collections("docs")
    return status.documents > documents
