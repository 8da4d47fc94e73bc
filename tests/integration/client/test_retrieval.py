"""H1, H3, K2: collections through the client, from a gateway and an indexer that the test scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from msgspec import Struct
from nats.aio.msg import Msg

from penstock import (
    Client,
    Document,
    IndexProgress,
    IndexReport,
    Rag,
    RequestFailed,
    RetrievalFailed,
    RetrievalUnavailable,
    UnknownCollection,
)
from penstock.contract import codec
from penstock.contract.codec import encode
from penstock.contract.request import IndexRequest
from penstock.contract.retrieval import subjects
from penstock.contract.retrieval.collections import CollectionsReport, CollectionStatus
from penstock.contract.retrieval.search import (
    Citation,
    DocumentsReport,
    DocumentStatus,
    Passage,
    SearchAnswer,
    SearchFailed,
)
from tests.harness.suite.waiting import until
from tests.integration.client.events import Events
from tests.integration.client.gateway import Gateway

REPORT = IndexReport(collection="docs", indexed=2, deleted=1, chunks=9)
DOCUMENT = Document(id="a.pdf", data=b"%PDF\xff", metadata={"year": 2026})


def index_two(gateway: Gateway) -> None:
    async def script(request: IndexRequest) -> None:
        events = Events(request.id)
        begun = [events.accepted(), *events.begin()]
        steps = [events.progress(1, 2), events.progress(2, 2)]
        await gateway.send(request, *begun, *steps, events.completed(encode(REPORT)))

    gateway.script = script


async def subscribe(gateway: Gateway, subject: str, callback: Callable[[Msg], Awaitable[None]]) -> None:
    """nats-py sends the PING of a flush ahead of what is pending, so only that of the second follows the SUB."""
    await gateway.nc.subscribe(subject, cb=callback)
    await gateway.nc.flush()
    await gateway.nc.flush()


async def answer(gateway: Gateway, subject: str, message: Struct) -> list[bytes]:
    asked: list[bytes] = []

    async def reply(msg: Msg) -> None:
        asked.append(msg.data)
        await msg.respond(encode(message))

    await subscribe(gateway, subject, reply)
    return asked


async def test_h1_documents_are_submitted_as_a_job(gateway: Gateway, client: Client) -> None:
    job = await client.index(
        "docs", documents=[DOCUMENT], delete=["b.md"], model="e", dimensions=64, user="u", timeout_s=60
    )
    await until(lambda: len(gateway.requests) == 1)
    (request,) = gateway.requests
    assert isinstance(request, IndexRequest)
    assert (request.id, request.collection, request.lane, request.user) == (job, "docs", "batch", "u")
    body = codec.INDEX_BODY.decode(request.body)
    assert body.documents == (DOCUMENT,)
    assert (body.delete, body.drop, body.model, body.dimensions) == (("b.md",), False, "e", 64)


async def test_h1_progress_comes_before_the_report(gateway: Gateway, client: Client) -> None:
    index_two(gateway)
    seen: list[IndexProgress] = []
    report = await client.index_and_wait(
        "docs", documents=[DOCUMENT], lane="interactive", timeout_s=10, on_progress=seen.append
    )
    assert report == REPORT
    assert [(each.done, each.documents) for each in seen] == [(1, 2), (2, 2)]
    async with client.index_stream("docs", drop=True) as stream:
        kinds = [type(event).__name__ async for event in stream]
    assert kinds == ["Accepted", "Started", "IndexProgress", "IndexProgress", "Completed"]
    assert [request.lane for request in gateway.requests] == ["interactive", "batch"]


async def test_h4_a_user_or_a_conversation_is_forgotten_by_one_request(
    gateway: Gateway, client: Client
) -> None:
    index_two(gateway)
    assert await client.forget("ann", timeout_s=10) == REPORT
    assert await client.forget("ann", "trip", timeout_s=10) == REPORT
    requests = [each for each in gateway.requests if isinstance(each, IndexRequest)]
    assert [(each.collection, each.user, each.lane) for each in requests] == [("memory-", "ann", "batch")] * 2
    bodies = [codec.INDEX_BODY.decode(each.body) for each in requests]
    assert [(each.drop, each.drop_conversation) for each in bodies] == [(True, ""), (False, "trip")]
    with pytest.raises(ValueError, match="forget needs the user"):
        await client.forget("", "trip")


async def test_k2_a_failed_index_request_raises_its_failure(gateway: Gateway, client: Client) -> None:
    async def script(request: IndexRequest) -> None:
        events = Events(request.id)
        await gateway.send(request, events.accepted(), events.failed())

    gateway.script = script
    with pytest.raises(RequestFailed, match="no provider answers"):
        await client.index_and_wait("docs", delete=["a"], timeout_s=10)


@pytest.mark.parametrize(
    ("collection", "change", "message"),
    [
        ("my docs", {"drop": True}, "is not the name of a collection"),
        ("docs", {}, "there is nothing to do"),
        ("docs", {"delete": "a.md"}, "documents and delete are lists"),
        ("docs", {"documents": [{"id": "a", "text": "b"}]}, "use Document"),
        ("docs", {"documents": [Document(id="a", text="b", metadata={"k": object()})]}, "cannot be written"),
    ],
)
async def test_k2_a_change_that_cannot_be_sent_is_a_value_error(
    gateway: Gateway, client: Client, collection: str, change: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        await client.index(collection, **change)
    assert not gateway.requests


async def test_h3_a_search_is_answered_with_passages(gateway: Gateway, client: Client) -> None:
    passage = Passage(document="a.md", chunk="c1", text="a text", score=0.8)
    asked = await answer(gateway, subjects.search(gateway.account), SearchAnswer(passages=(passage,)))
    found = await client.search(
        "docs", "what?", mode="text", top_k=3, min_score=0.2, filters={"year": [2025, 2026]}, user="u"
    )
    assert found.passages == (passage,)
    question = codec.SEARCH_REQUEST.decode(asked[0])
    assert (question.collection, question.query, question.mode) == ("docs", "what?", "text")
    assert (question.top_k, question.min_score, question.user) == (3, 0.2, "u")
    assert question.filters == {"year": [2025, 2026]}


async def test_h1_collections_and_documents_are_listed(gateway: Gateway, client: Client) -> None:
    status = CollectionStatus(name="docs", model="e", dimensions=8, documents=2, chunks=9, tokens=99, bytes=1)
    listed = DocumentsReport(documents=(DocumentStatus(id="a.md", chunks=4),), more=True)
    await answer(gateway, subjects.collections(gateway.account), CollectionsReport(collections=(status,)))
    asked = await answer(gateway, subjects.documents(gateway.account), listed)
    assert await client.collections() == (status,)
    assert await client.documents("docs", prefix="a", after="a", limit=1) == listed
    assert (await client.documents(user="u")).more
    first, second = map(codec.DOCUMENTS_QUERY.decode, asked)
    assert (first.collection, first.prefix, first.after, first.limit) == ("docs", "a", "a", 1)
    assert (second.collection, second.user) == ("", "u")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("unknown_collection", UnknownCollection),
        ("retrieval_unavailable", RetrievalUnavailable),
        ("budget_exceeded", RetrievalFailed),
    ],
)
async def test_k2_a_refused_search_has_the_error_of_its_code(
    gateway: Gateway, client: Client, code: Any, error: type[RetrievalFailed]
) -> None:
    await answer(gateway, subjects.search(gateway.account), SearchFailed(code=code, message="no, because"))
    with pytest.raises(RetrievalFailed, match="no, because") as caught:
        await client.search("docs", "what?")
    assert type(caught.value) is error
    assert caught.value.code == code


async def test_k2_without_an_indexer_the_error_says_what_to_start(gateway: Gateway, client: Client) -> None:
    with pytest.raises(
        RetrievalUnavailable, match=r"no indexer answered within 0\.7 s: if one is being restarted, try again"
    ) as caught:
        await client.search("docs", "what?", timeout_s=0.7)
    assert (caught.value.code, caught.value.retry) == ("retrieval_unavailable", "later")

    async def be_silent(msg: Msg) -> None:
        pass

    await subscribe(gateway, subjects.collections(gateway.account), be_silent)
    with pytest.raises(RetrievalUnavailable, match=r"did not answer within 0\.2 s"):
        await client.collections(timeout_s=0.2)


async def test_k2_a_question_waits_for_an_indexer_that_is_restarted(gateway: Gateway, client: Client) -> None:
    searching = asyncio.create_task(client.search("docs", "what?", timeout_s=10))
    listing = asyncio.create_task(client.collections(timeout_s=10))
    await asyncio.sleep(0.3)  # both find no indexer
    assert not searching.done()
    asked = await answer(gateway, subjects.search(gateway.account), SearchAnswer(passages=()))
    await answer(gateway, subjects.collections(gateway.account), CollectionsReport(collections=()))
    assert (await searching).passages == ()
    assert await listing == ()
    (question,) = map(codec.SEARCH_REQUEST.decode, asked)
    assert 0 < question.timeout_s < 9.8, "the indexer is told how long the client still waits"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"top_k": 0}, "^top_k must be at least 1$"),
        ({"top_k": 101}, "^top_k must be at most 100$"),
        ({"mode": "magic"}, "^mode cannot be 'magic'$"),
        ({"min_score": "2"}, "^min_score must be a number, not text$"),
        ({"min_score": 2}, "^min_score must be at most 1.0$"),
    ],
)
async def test_k2_a_question_that_no_search_answers_is_a_value_error(
    client: Client, more: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        await client.search("docs", "what?", **more)


@pytest.mark.parametrize(
    ("rag", "sent"),
    [
        ("docs", Rag(collection="docs")),
        ({"collection": "docs", "top_k": 7}, Rag(collection="docs", top_k=7)),
        (Rag(collection="docs", whole=True), Rag(collection="docs", whole=True)),
        (None, None),
    ],
)
async def test_h3_h4_passages_and_conversations_are_asked_for_in_the_envelope(
    gateway: Gateway, client: Client, rag: Any, sent: Rag | None
) -> None:
    citation = Citation(number=1, collection="docs", document="a.md", chunk="c", cited=True)

    async def script(request) -> None:
        events = Events(request.id)
        begun = [events.accepted(), *events.begin(), *events.deltas("yes [1]")]
        await gateway.send(
            request, *begun, msgspec.structs.replace(events.completed(), citations=(citation,))
        )

    gateway.script = script
    reply = await client.chat("what?", rag=rag, conversation="c-1", user="u", timeout_s=10)
    assert reply.citations == (citation,)
    await client.submit("what?", rag=rag, conversation="c-1", user="u")
    await until(lambda: len(gateway.requests) == 2)
    assert [request.rag for request in gateway.requests] == [sent, sent]
    assert [request.conversation for request in gateway.requests] == ["c-1", "c-1"]
    assert all("rag" not in msgspec.json.decode(request.body) for request in gateway.requests)


@pytest.mark.parametrize(
    ("rag", "message"),
    [
        (7, "use the name of a collection, or a Rag"),
        ({"collection": "docs", "topk": 7}, "rag has no field 'topk'"),
        ({"collection": "docs", "top_k": 0}, "rag.top_k must be at least 1"),
    ],
)
async def test_k2_wrong_settings_of_a_search_are_a_value_error(
    gateway: Gateway, client: Client, rag: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        await client.chat("what?", rag=rag)
    assert not gateway.requests
