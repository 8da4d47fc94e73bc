"""Searches for a whole collection: what they may read, and how many read at once."""

from __future__ import annotations

import asyncio

import pytest

from penstock.contract.retrieval.documents import Document, IndexBody
from penstock.contract.retrieval.search import MAX_BUDGET_TOKENS
from services.indexer.store.interface import FilterTerm, ReadLimit, StoredChunk
from services.indexer.store.tables import TableName
from tests.harness.indexer.local_indexer import ACCOUNT, LocalIndexer


class _Reads:
    """Reads of whole tables that end when they are let."""

    def __init__(self, indexer: LocalIndexer, monkeypatch: pytest.MonkeyPatch) -> None:
        self._all_chunks = indexer.store.all_chunks
        self.limits: list[ReadLimit | None] = []
        self.begun: list[TableName] = []
        self.running = self.most_running = 0
        self.may_end = asyncio.Event()
        monkeypatch.setattr(indexer.store, "all_chunks", self._read)

    async def _read(
        self, table: TableName, filter_: tuple[FilterTerm, ...], most: ReadLimit | None = None
    ) -> list[StoredChunk] | None:
        self.limits.append(most)
        self.begun.append(table)
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        await self.may_end.wait()
        self.running -= 1
        return await self._all_chunks(table, filter_, most)


@pytest.fixture
async def indexer() -> LocalIndexer:
    made = LocalIndexer()
    documents = (Document(id="cats", text="Cats sleep all day"), Document(id="dogs", text="Dogs run"))
    for account in (ACCOUNT, "other"):
        await made.index(IndexBody(documents=documents), account=account)
    return made


async def test_h1_no_search_reads_more_than_a_budget_or_a_message_can_have(
    indexer: LocalIndexer, monkeypatch: pytest.MonkeyPatch
):
    reads = _Reads(indexer, monkeypatch)
    reads.may_end.set()
    assert (await indexer.search("", whole_tokens=10**12)).whole
    assert (await indexer.search("", whole_tokens=500)).whole
    assert reads.limits == [
        ReadLimit(MAX_BUDGET_TOKENS, indexer.max_answer_bytes),
        ReadLimit(500, indexer.max_answer_bytes),
    ]


@pytest.mark.parametrize("max_bytes", [20, 200])
async def test_h1_a_collection_that_does_not_fit_a_message_is_searched(indexer: LocalIndexer, max_bytes: int):
    indexer.max_answer_bytes = max_bytes  # 200: the texts fit, the encoded passages do not
    answer = await indexer.search("cats sleep", whole_tokens=1_000)
    assert (answer.whole, [each.document for each in answer.passages]) == (False, ["cats"])


async def test_h1_whole_reads_of_an_account_wait_and_others_pass_them(
    indexer: LocalIndexer, monkeypatch: pytest.MonkeyPatch
):
    reads = _Reads(indexer, monkeypatch)
    async with asyncio.TaskGroup() as group:
        mine = [group.create_task(indexer.search("", whole_tokens=1_000)) for _ in range(100)]
        while len(reads.begun) < 2:
            await asyncio.sleep(0)
        other = group.create_task(indexer.search("", whole_tokens=1_000, account="other"))
        while len(reads.begun) < 3:
            await asyncio.sleep(0)
        assert len(set(reads.begun)) == 2, "the third read is that of the other account"
        mine[50].cancel()
        reads.may_end.set()
    assert all(task.cancelled() or task.result().whole for task in (*mine, other))
    assert (reads.most_running, reads.running) == (3, 0)
