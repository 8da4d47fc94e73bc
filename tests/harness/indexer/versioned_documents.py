"""Documents whose content follows from the version that writes them, and the process that writes version after version.

    python -m tests.harness.indexer.versioned_documents URL TABLE PURGE_EVERY [maintain]

It prints `begin N` before it stores version N, and `done N` after it; every PURGE_EVERY versions it also purges. With
`maintain`, the table is maintained meanwhile, as by an indexer.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import count
from typing import Final

from services.indexer.store.interface import DocumentChunks, Store
from services.indexer.store.maintenance_queue import MaintenanceQueue
from services.indexer.store.opening import open_store
from services.indexer.store.tables import TableName
from tests.harness.indexer.stored_documents import document, question

__all__ = ["DOCUMENTS", "check_whole", "documents_of", "stored_version", "write"]

DOCUMENTS: Final = ("a", "b", "c")


def documents_of(version: int) -> list[DocumentChunks]:
    """All documents of a version, of which each has some chunks in common with other versions."""
    return [document(id_, _texts(id_, version)) for id_ in DOCUMENTS if not _is_deleted(id_, version)]


async def write(store: Store, table: TableName, version: int) -> None:
    deleted = [id_ for id_ in DOCUMENTS if _is_deleted(id_, version)]
    await store.replace(table, version, documents_of(version), deleted)


async def stored_version(store: Store, table: TableName) -> int:
    """The version of the first document, which no version deletes; 0: nothing is stored."""
    found = await store.documents(table, DOCUMENTS[:1])
    return found[DOCUMENTS[0]].version if found else 0


async def check_whole(store: Store, table: TableName, version: int) -> None:
    """That every read shows all documents as this version wrote them, and nothing else."""
    expected = {
        (each.document.id, chunk.chunk.text) for each in documents_of(version) for chunk in each.chunks
    }
    states = await store.documents(table, DOCUMENTS)
    assert {id_: state.version for id_, state in states.items()} == {
        each.document.id: version for each in documents_of(version)
    }
    chunks = await store.all_chunks(table, ())
    assert chunks is not None
    assert sorted((each.document.id, each.chunk.text) for each in chunks) == sorted(expected)
    by_vector = await store.search_vector(table, question("anything", 1_000))
    assert sorted((hit.document.id, hit.chunk.text) for hit in by_vector) == sorted(expected)
    by_words = await store.search_text(table, ["text"], question("anything", 1_000))
    assert sorted((hit.document.id, hit.chunk.text) for hit in by_words) == sorted(expected)
    found = await store.statistics(table)
    assert (found.documents, found.chunks) == (len(states), len(expected))


def _is_deleted(id_: str, version: int) -> bool:
    return id_ != DOCUMENTS[0] and version % 5 == DOCUMENTS.index(id_)


def _texts(id_: str, version: int) -> list[str]:
    return [f"text {id_} {version - version % (number + 1)} {number}" for number in range(version % 7 + 1)]


async def _main(url: str, table: str, purge_every: int, *maintain: str) -> None:
    store = await open_store(url)
    name = TableName(table)
    maintenance = MaintenanceQueue(store, rest_s=0.05)
    if maintain:
        maintenance.start()
    for version in count(await stored_version(store, name) + 1):
        print(f"begin {version}", flush=True)
        await write(store, name, version)
        print(f"done {version}", flush=True)
        maintenance.note_change(name)
        if purge_every and version % purge_every == 0:
            await store.purge(name)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:]))
