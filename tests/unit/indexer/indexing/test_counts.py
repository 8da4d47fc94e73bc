"""What a report says of chunks: also after an error of the store, and where texts are equal."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.contract.retrieval.documents import Document, IndexBody
from services.indexer.store.errors import StoreUnavailable
from tests.harness.indexer.local_indexer import LocalIndexer, documents


@pytest.mark.parametrize("body", [IndexBody(model="large"), documents(a="one", b="two", c="three")])
async def test_h1_a_repetition_after_an_error_of_the_store_counts_each_chunk_once(body: IndexBody):
    indexer = LocalIndexer()
    if body.model:
        await indexer.index(documents(a="one", b="two", c="three"))
    replace, failures = indexer.store.replace, [StoreUnavailable("for a moment")]

    async def failing(*change: Any) -> frozenset[str]:
        if failures:
            raise failures.pop()
        return await replace(*change)

    indexer.store.replace = failing  # type: ignore[method-assign]
    task = indexer.task(body)
    with pytest.raises(StoreUnavailable):
        await indexer.indexer.index(task)
    report = await indexer.indexer.index(task)
    assert (report.changed, report.embedded, report.from_cache) == (3, 3, 0)


async def test_h1_equal_chunks_are_not_reported_as_from_the_cache():
    indexer = LocalIndexer()
    body = IndexBody(documents=tuple(Document(id=id_, text="the same text") for id_ in "abc"))
    report = await indexer.index(body)
    assert (report.changed, report.embedded, report.from_cache) == (3, 1, 0)
