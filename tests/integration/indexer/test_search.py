"""Searches through the real system: hostile questions, other accounts, a missing model, traces and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import nats
import pytest
from nats.aio.client import Client as Nats

from penstock.client.client import Client
from penstock.contract import codec
from penstock.contract.headers import TRACEPARENT
from penstock.contract.retrieval import subjects
from penstock.contract.retrieval.documents import Document
from penstock.contract.retrieval.search import SearchAnswer, SearchFailed, SearchRequest
from services.indexer.collections.names import memory_of
from services.indexer.store.tables import table_name
from tests.harness.indexer.index_requests import index, retrieval_catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.suite.waiting import until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
DOCUMENTS = [
    Document(id="cats", text="Cats sleep all day on the sofa", metadata={"kind": "animal"}),
    Document(id="dogs", text="Dogs run in the park", metadata={"kind": "animal"}),
    Document(id="o'r\"; DROP", text="A quoted thing", metadata={"k'; --": "v\"' OR 1=1"}),
]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("search")
    env = {"PENSTOCK_TRACES": f"file:{directory / 'traces.jsonl'}"}
    with shared_system(directory, "all", config=retrieval_catalogue(), env=env, indexers=2) as running:
        yield running


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with await system.client(account="acme") as connected:
        await index(connected, documents=DOCUMENTS)
        yield connected


@pytest.fixture
async def nc(system: System) -> AsyncIterator[Nats]:
    connected = await nats.connect(system.nats.url)
    yield connected
    await connected.close()


async def ask(nc: Nats, account: str, payload: bytes, **headers: str) -> SearchAnswer | SearchFailed:
    msg = await nc.request(subjects.search(account), payload, timeout=20, headers=headers or None)
    return codec.SEARCH_ANSWER.decode(msg.data)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"nothing",
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"type":"search_request","collection":"docs","query":"x","top_k":0}',
        b'{"type":"search_request","collection":"docs","query":"x","top_k":101}',
        b'{"type":"search_request","collection":"docs","query":"x","filters":{"a":null}}',
        b'{"type":"search_request","collection":"docs","query":"x","filters":{"a":[]}}',
        b'{"type":"search_request","collection":"docs","query":" "}',
        b'{"type":"search_request","collection":"","query":"x"}',
        b'{"type":"search_request","collection":"../docs","query":"x"}',
        b'{"type":"search_request","collection":"docs","query":"' + b"x" * 200_000 + b'"}',
    ],
)
async def test_h5_a_wrong_question_gets_a_clear_error(nc: Nats, payload: bytes):
    answer = await ask(nc, "acme", payload)
    assert isinstance(answer, SearchFailed)
    assert answer.code == "invalid_request"
    assert answer.message


async def test_h5_quotes_and_operators_in_questions_are_only_text(client: Client):
    for query in ("o'r\"; DROP TABLE", '" OR 1=1 --', "cats' AND", "(((", "* ? : ~ ^", "\0 null"):
        answer = await client.search("docs", query)
        assert len(answer.passages) <= 3
    answer = await client.search("docs", "quoted thing", filters={"k'; --": "v\"' OR 1=1"})
    assert [passage.document for passage in answer.passages] == ["o'r\"; DROP"]
    answer = await client.search("docs", "quoted thing", filters={"kind": "x' OR 'a'='a"})
    assert answer.passages == ()


@pytest.mark.usefixtures("client")
async def test_h5_other_accounts_see_nothing_whatever_they_send(nc: Nats):
    table = table_name("acme", "docs", 1)
    names = ("docs", "acme.docs", "*", ">", table, memory_of("acme", "ann"), "memory-", "")
    filters: tuple[dict[str, Any], ...] = ({}, {"kind": "animal"}, {"account": "acme"})
    for name in names:
        for filter_ in filters:
            request = SearchRequest(collection=name, query="cats sleep", filters=filter_, user="ann")
            answer = await ask(nc, "other", codec.encode(request))
            assert isinstance(answer, SearchFailed) or answer.passages == ()
    spoofed = b'{"type":"search_request","collection":"docs","query":"cats","account":"acme"}'
    assert isinstance(await ask(nc, "other", spoofed), SearchFailed)


async def test_h1_a_search_is_in_the_trace_of_its_caller(system: System, client: Client, nc: Nats):
    parent = f"00-{TRACE}-00f067aa0ba902b7-01"
    request = SearchRequest(collection="docs", query="which animals sleep in the day")
    answer = await ask(nc, "acme", codec.encode(request), **{TRACEPARENT: parent})
    assert isinstance(answer, SearchAnswer)

    def spans() -> list[str]:
        path = system.directory / "traces.jsonl"
        return [line for line in path.read_text().splitlines() if TRACE in line] if path.exists() else []

    await until(lambda: any("process llm.index.search" in span for span in spans()))
    text = "".join(spans())
    assert "penstock embeddings" in text or '"penstock.role":"embed"' in text, (
        "its vector is in the same trace"
    )
    assert "penstock.retrieval.passages" in text
    assert "which animals" not in text, "no content"


async def test_h1_words_answer_while_no_worker_serves_the_model(system: System, client: Client):
    await client.search("docs", "dogs in the park")  # its vector is kept
    for worker in system.workers:
        worker.kill()
    try:
        answer = await client.search("docs", "cats sleep on sofas", timeout_s=3)
        assert [passage.document for passage in answer.passages] == ["cats"]
        assert answer.model == ""
        known = await client.search("docs", "dogs in the park", timeout_s=3)
        assert known.passages[0].document == "dogs"
    finally:
        system.workers[0] = system.new_worker("all")
        await system.workers[0].start()


async def test_h1_many_searches_at_once_are_all_answered_by_both_indexers(system: System, client: Client):
    answers = await asyncio.gather(
        *(client.search("docs", f"cats sleep {number % 10}", timeout_s=30) for number in range(100)),
        return_exceptions=True,
    )
    found = [answer for answer in answers if isinstance(answer, SearchAnswer)]
    assert all(answer.passages[0].document == "cats" for answer in found)
    refused = [answer for answer in answers if not isinstance(answer, SearchAnswer)]
    assert all(getattr(error, "code", "") == "overloaded" for error in refused)
    texts = [await system.metrics(process) for process in system.indexers]
    assert all('penstock_searches_total{mode="hybrid",outcome="found"}' in text for text in texts)
