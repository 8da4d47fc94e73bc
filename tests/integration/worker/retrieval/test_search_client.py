"""H3: searches over NATS: their trace, their tries, and what is known of a silent indexer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client as Nats

from penstock.cli.local.nats_server import NatsServer
from penstock.contract import headers
from penstock.contract.retrieval.search import SearchFailed, SearchRequest
from services.worker.retrieval.search_client import SearchClient, SearchRefused
from tests.harness.processes.fake_indexer import FakeIndexer, found

REQUEST = SearchRequest(collection="docs", query="pump")
TRACE = {headers.TRACEPARENT: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


@pytest.fixture
async def indexer(nats_server: NatsServer) -> AsyncIterator[FakeIndexer]:
    async with FakeIndexer.running(nats_server.url) as running:
        yield running


async def test_h3_a_search_carries_its_trace_and_its_time(
    nc: Nats, unique: str, indexer: FakeIndexer
) -> None:
    indexer.answer = lambda _: found("One.")
    answer = await SearchClient(nc, 2.0).search(unique, REQUEST, TRACE)
    assert [each.text for each in answer.passages] == ["One."]
    assert indexer.accounts == [unique]
    assert indexer.headers[0][headers.TRACEPARENT] == TRACE[headers.TRACEPARENT]
    (asked,) = indexer.searches
    assert 0 < asked.timeout_s <= 2.0


async def test_h3_a_late_answer_counts_and_the_search_is_sent_again_meanwhile(
    nc: Nats, unique: str, indexer: FakeIndexer
) -> None:
    indexer.answer, indexer.takes_s = (lambda _: found("One.")), 0.8
    answer = await SearchClient(nc, 1.5).search(unique, REQUEST)
    assert len(answer.passages) == 1
    assert len(indexer.searches) == 2


async def test_h3_a_refusal_is_raised(nc: Nats, unique: str, indexer: FakeIndexer) -> None:
    indexer.answer = lambda _: SearchFailed(code="unknown_collection", message="none", retry_after_s=1.0)
    with pytest.raises(SearchRefused, match="none") as refused:
        await SearchClient(nc, 2.0).search(unique, REQUEST)
    assert (refused.value.code, refused.value.retry_after_s) == ("unknown_collection", 1.0)


async def test_h3_after_silence_an_optional_search_waits_for_a_shorter_time(
    nc: Nats, unique: str, indexer: FakeIndexer
) -> None:
    indexer.answer = lambda _: None
    client = SearchClient(nc, 2.5)
    took_s = []
    for _ in range(2):
        began_s = time.monotonic()
        with pytest.raises(SearchRefused, match="no indexer answered"):
            await client.search(unique, REQUEST, required=False)
        took_s.append(time.monotonic() - began_s)
    assert took_s[0] >= 2.4
    assert took_s[1] < 2.2
