"""Documents indexed end to end: client, router, indexer, worker, and a provider that takes no time."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import Any, Final

from penstock.client.client import Client
from penstock.contract.retrieval.documents import Document
from tests.bench.targets import Target
from tests.harness.indexer.index_requests import retrieval_catalogue
from tests.harness.processes.system import running_system

__all__ = ["indexing_figures", "indexing_targets"]

_DOCUMENTS: Final = 600
_AT_ONCE: Final = 100
"""Documents of one request."""
_PARAGRAPHS: Final = 10
_WORDS: Final = 140
"""Of a paragraph: about as long as a chunk."""
_BEGINNINGS, _ENDINGS = ("wat", "riv", "sto", "mol"), ("er", "en", "or", "ish")
_VOCABULARY: Final = tuple(first + last for first in _BEGINNINGS for last in _ENDINGS)
_CHUNKS_PER_S: Final = 300


async def indexing_figures(directory: Path) -> dict[str, Any]:
    """`index_chunks_per_s`: new chunks of 1,000 characters, with vectors of 256 dimensions. `index_cpu_ms_per_chunk`:
    of router, worker and indexer. `reindex_documents_per_s`: unchanged documents.
    """
    config = retrieval_catalogue({"chunking": {"characters": 1_000, "overlap": 100}})
    async with running_system(directory, "embed", config=config, indexers=1, fresh=True) as system:
        processes = (system.router, system.workers[0], system.indexers[0])
        async with await system.client(account="bench") as client:
            first = await client.index_and_wait("first", documents=[_document(_DOCUMENTS)], timeout_s=60)
            documents = [_document(number) for number in range(_DOCUMENTS)]
            began_cpu_s = sum(process.cpu_s() for process in processes)
            took_s, chunks = await _index(client, documents)
            cpu_s = sum(process.cpu_s() for process in processes) - began_cpu_s
            again_s, same = await _index(client, documents)
        assert same == chunks
        assert await system.embedded_texts() == chunks + first.chunks
    return {
        "index_chunks_per_s": round(chunks / took_s, 1),
        "index_cpu_ms_per_chunk": round(cpu_s * 1000 / chunks, 3),
        "reindex_documents_per_s": round(_DOCUMENTS / again_s, 1),
    }


def indexing_targets(report: dict[str, Any]) -> list[Target]:
    per_chunk_ms = round(1000 / report["index_chunks_per_s"], 3)
    return [Target("indexing: ms per chunk, end to end", per_chunk_ms, round(1000 / _CHUNKS_PER_S, 3))]


async def _index(client: Client, documents: list[Document]) -> tuple[float, int]:
    """Seconds, and the chunks of all documents."""
    requests = [documents[start : start + _AT_ONCE] for start in range(0, len(documents), _AT_ONCE)]
    began_s = time.perf_counter()
    reports = await asyncio.gather(
        *(client.index_and_wait("docs", documents=each, timeout_s=300) for each in requests)
    )
    assert not any(report.refused for report in reports)
    return time.perf_counter() - began_s, sum(report.chunks for report in reports)


def _document(number: int) -> Document:
    """Of which no chunk is like one of another document."""
    dice = random.Random(number)
    paragraphs = [
        " ".join(f"{dice.choice(_VOCABULARY)}{dice.randrange(100)}" for _ in range(_WORDS))
        for _ in range(_PARAGRAPHS)
    ]
    return Document(id=f"documents/{number}", text="\n\n".join(paragraphs))
