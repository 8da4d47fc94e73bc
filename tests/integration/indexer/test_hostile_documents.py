"""H3: hostile documents in an index request are refused or indexed, and the indexer goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from penstock.bus.ids import new_id
from penstock.contract.retrieval.documents import Document
from tests.harness.indexer.index_requests import index, retrieval_catalogue
from tests.harness.processes.system import System, shared_system

MOST_MB = 900
"""Resident memory of the indexer afterwards; its libraries alone have 300."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = retrieval_catalogue({"max_document_bytes": 8 * 1024 * 1024})
    with shared_system(tmp_path_factory.mktemp("hostile"), "embed", config=config, indexers=1) as running:
        yield running


async def test_h3_hostile_documents_are_refused_or_indexed_and_the_indexer_lives(system: System):
    refused = {
        "binary.bin": bytes(range(256)) * 1_000,
        "broken.pdf": b"%PDF-1.7\n1 0 obj\n<< /Length 99999999 >>\nstream\n" + b"\0" * 5_000,
        "large.txt": b"x" * (9 * 1024 * 1024),
    }
    accepted = {
        "koi8.txt": "Документ на русском языке про вишни и яблоки в саду. ".encode("koi8_r") * 20,
        "nested.html": b"<div>" * 50_000 + b"The deepest text" + b"</div>" * 50_000,
        "script.html": b"<p>Visible</p><script>alert('hidden')</script><a href='javascript:x()'>link</a>",
        "line.txt": b"word " * 400_000,
    }
    documents = [Document(id=name, data=data) for name, data in {**refused, **accepted}.items()]
    async with await system.client(account=new_id()) as client:
        report = await index(client, documents=documents)
        assert {each.id for each in report.refused} >= set(refused)
        assert "script.html" not in {each.id for each in report.refused}
        assert report.indexed + len(report.refused) == len(documents)
        assert all(each.reason for each in report.refused)
        assert (await client.search("docs", "Visible", mode="text")).passages[0].document == "script.html"
        hidden = await client.search("docs", "alert hidden javascript", mode="text", top_k=20)
        assert not any(
            "alert(" in passage.text or "javascript:" in passage.text for passage in hidden.passages
        )
        again = await index(client, documents=[Document(id="plain", text="after all this")])
        assert again.indexed == 1
    assert system.indexers[0].alive
    assert system.indexers[0].rss_mb() < MOST_MB
