"""H3, H4: passages and conversations over HTTP, with the unchanged SDKs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest

from penstock.contract.retrieval.search import SearchFailed, SearchRequest
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.fake_indexer import FakeIndexer, found
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.edge_client import request

NOON, BLUE = "The pump starts at noon.", "The colour of the pump is blue."
ASKED: Any = [{"role": "user", "content": "When does the pump start?"}]
RAG = {"collection": "docs", "top_k": 2}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    embedding = {"embedder": {"embedding": {"dimensions": 64}}}
    roles = {"coding": ("coder",), "embed": ("embedder",)}
    config = catalogue(roles, models=embedding, retrieval={"wait_s": 2})
    with shared_system(tmp_path_factory.mktemp("edge"), config=config) as running:
        yield running


@pytest.fixture(autouse=True)
async def indexer(system: System) -> AsyncIterator[FakeIndexer]:
    async with FakeIndexer.running(system.nats.url) as running:
        running.answer = lambda _: found(NOON, BLUE)
        yield running


async def last_request(system: System) -> dict[str, Any]:
    """What the model was given."""
    answer = await request("GET", f"{system.simulator.ready['url']}/sim/last_request?model=coder")
    body: dict[str, Any] = json.loads(answer.body)
    return body


async def test_h3_a_whole_answer_has_citations_and_their_number(
    ai: openai.AsyncOpenAI, system: System
) -> None:
    raw = await ai.chat.completions.with_raw_response.create(
        model="coding", messages=ASKED, extra_body={"rag": RAG}
    )
    answer = raw.parse()
    citations = (answer.model_extra or {})["citations"]
    assert [(each["number"], each["document"]) for each in citations] == [(1, "docs/1.md"), (2, "docs/2.md")]
    text = answer.choices[0].message.content or ""
    assert [each["cited"] for each in citations] == [f"[{number}]" in text for number in (1, 2)]
    assert raw.headers["x-penstock-citations"] == "2"
    sent = await last_request(system)
    assert "rag" not in sent
    assert NOON in sent["messages"][0]["content"]


async def test_h4_an_answer_says_how_many_turns_were_recalled(
    ai: openai.AsyncOpenAI, indexer: FakeIndexer
) -> None:
    indexer.recall = lambda _: found("Question: The pump is mine.", document="monday/1")
    asked: dict[str, Any] = {"model": "coding", "messages": ASKED, "user": "ann"}
    own = {"conversation": "tuesday"}
    raw = await ai.chat.completions.with_raw_response.create(**asked, extra_body=own)
    assert (raw.parse().model_extra or {})["recalled"] == [{"conversation": "monday", "turns": 1}]
    assert raw.headers["x-penstock-recalled"] == "1"
    stream = await ai.chat.completions.create(**asked, extra_body=own, stream=True)
    last = [chunk async for chunk in stream][-1]
    assert (last.model_extra or {})["recalled"] == [{"conversation": "monday", "turns": 1}]


async def test_h3_the_last_chunk_of_a_stream_has_citations(ai: openai.AsyncOpenAI) -> None:
    stream = await ai.chat.completions.create(
        model="coding", messages=ASKED, stream=True, extra_body={"rag": "docs"}
    )
    chunks = [chunk async for chunk in stream]
    found_in = [each for each in chunks if (each.model_extra or {}).get("citations")]
    assert found_in == chunks[-1:]
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_h3_an_answer_without_rag_has_no_citations(ai: openai.AsyncOpenAI) -> None:
    raw = await ai.chat.completions.with_raw_response.create(model="coding", messages=ASKED)
    assert "citations" not in json.loads(raw.content)
    assert "x-penstock-citations" not in raw.headers


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": ASKED}),
        ("/v1/responses", {"input": "When does the pump start?"}),
        ("/v1/messages", {"messages": ASKED, "max_tokens": 100}),
    ],
)
async def test_h3_every_dialect_takes_the_header(
    url: str, indexer: FakeIndexer, path: str, body: dict[str, Any]
) -> None:
    headers = {"x-penstock-rag": json.dumps(RAG)}
    answer = await request("POST", url + path, {"model": "coding", **body}, headers=headers)
    assert answer.status == 200, answer.body
    assert len(json.loads(answer.body)["citations"]) == 2
    (search,) = indexer.searches
    assert (search.collection, search.top_k) == ("docs", 2)


async def test_h4_a_conversation_comes_from_the_body_or_a_header(url: str, indexer: FakeIndexer) -> None:
    chat = f"{url}/v1/chat/completions"
    body = {"model": "coding", "messages": ASKED, "user": "ann"}
    by_body = await request("POST", chat, {**body, "conversation": "trip"})
    by_header = await request("POST", chat, body, headers={"x-penstock-conversation": "trip"})
    assert (by_body.status, by_header.status) == (200, 200)
    assert [_memory(each) for each in indexer.recalls] == [("ann", "trip")] * 2


async def test_h4_a_conversation_without_a_user_is_a_400(url: str) -> None:
    body = {"model": "coding", "messages": ASKED, "conversation": "trip"}
    answer = await request("POST", f"{url}/v1/chat/completions", body)
    assert answer.status == 400
    assert "needs user" in json.loads(answer.body)["error"]["message"]


async def test_h3_a_wrong_option_is_a_400_that_names_it(url: str) -> None:
    body = {"model": "coding", "messages": ASKED, "rag": {"collection": "docs", "topk": 1}}
    answer = await request("POST", f"{url}/v1/chat/completions", body)
    assert answer.status == 400
    assert "'topk'" in json.loads(answer.body)["error"]["message"]


async def test_h3_a_key_for_repeated_requests_is_refused_with_another_collection(url: str) -> None:
    chat, body = f"{url}/v1/chat/completions", {"model": "coding", "messages": ASKED}
    headers = {"idempotency-key": "h3-key", "x-penstock-rag": "docs"}
    assert (await request("POST", chat, body, headers=headers)).status == 200
    other = await request("POST", chat, body, headers={**headers, "x-penstock-rag": "other"})
    assert other.status == 422


def _memory(search: SearchRequest) -> tuple[str, str]:
    return search.user, search.conversation


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"conversation": "trip"}, "user"),
        ({"conversation": "t" * 257, "user": "ann"}, "conversation"),
        ({"conversation": 7}, "conversation"),
        ({"rag": {"collection": "a b"}}, "rag.collection"),
        ({"rag": {"collection": "docs", "filters": {"n": None}}}, "rag.filters"),
        ({"model": "embed"}, "model"),
    ],
)
async def test_d6_a_wrong_field_is_the_param_of_the_error(
    url: str, fields: dict[str, Any], param: str
) -> None:
    body = {"model": "coding", "messages": ASKED, **fields}
    answer = await request("POST", f"{url}/v1/chat/completions", body)
    assert (answer.status, answer.error["param"]) == (400, param), answer.error


async def test_h3_an_unknown_collection_is_the_param_of_the_error(url: str, indexer: FakeIndexer) -> None:
    indexer.answer = lambda _: SearchFailed(code="unknown_collection", message="there is none")
    answer = await request(
        "POST", f"{url}/v1/chat/completions", {"model": "coding", "messages": ASKED, "rag": "none"}
    )
    assert (answer.status, answer.error["param"]) == (404, "rag")
