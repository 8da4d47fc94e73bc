"""H5: the same indexer with PostgreSQL as its store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from penstock.bus.ids import new_id
from tests.harness.indexer.index_requests import (
    CHUNKS,
    OTHER_MODEL,
    corpus,
    index,
    retrieval_catalogue,
    stored_chunks,
)
from tests.harness.processes.system import System, shared_system


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
