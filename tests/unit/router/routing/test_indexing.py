"""H1, H3, H4: index requests, and chat requests with passages, are checked and routed without a server."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest

from penstock.contract import codec
from penstock.contract.names import ROLES
from penstock.contract.retrieval.documents import DOCUMENT_ID_CHARACTERS, MAX_DOCUMENTS, Document, IndexBody
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.load import load_catalogue
from penstock.runtime.retrieval.reserved_tokens import RULES_TOKENS
from services.router.routing.body_errors import InvalidBody
from services.router.routing.decide import decide
from services.router.routing.inbound import InboundRequest, job_of
from services.router.routing.indexing import extract_index_features
from services.router.routing.outcome import BodyNeeded, Rejected, Routed
from tests.harness.processes.catalogues import catalogue

NOW_MS = 1_800_000_000_000
ENVIRONMENT = {"PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1"}
SERVED = (*ROLES, "index")
EMBEDDING = {"embedding": {"dimensions": 64}}
CATALOGUE = load_catalogue(
    catalogue(
        {"embed": ("e",), "chat": ("m-chat",), "long_context": ("m-long",)},
        models={"e": EMBEDDING, "m-chat": {"context_tokens": 1_000_000}},
        retrieval={"index_timeout_s": 1_800, "memory": {"budget_tokens": 700}},
    ),
    source="test",
    env=ENVIRONMENT,
)
WITHOUT = load_catalogue(catalogue(), source="test", env=ENVIRONMENT)
TEXT = {"documents": [{"id": "a.md", "text": "hello"}]}


def inbound(kind: str, body: Any, **fields: Any) -> InboundRequest:
    request = {"id": "r1", "client": "c1", "body": body, **fields}
    data = json.dumps(request).encode()
    return InboundRequest(subject=f"llm.request.demo.{kind}", data=data, headers={}, stored_ms=NOW_MS)


def index(body: Any = TEXT, collection: str = "docs", **fields: Any) -> InboundRequest:
    return inbound("index", body, collection=collection, **fields)


def chat(**fields: Any) -> InboundRequest:
    return inbound("chat", {"messages": [{"role": "user", "content": "hi"}]}, **fields)


def decided(
    event: InboundRequest, in_catalogue: Catalogue = CATALOGUE, served: tuple[str, ...] = SERVED
) -> Routed | Rejected:
    outcome = decide(event, in_catalogue, served, NOW_MS)
    assert not isinstance(outcome, BodyNeeded)
    return outcome


def rejected(
    event: InboundRequest, in_catalogue: Catalogue = CATALOGUE, served: tuple[str, ...] = SERVED
) -> Rejected:
    outcome = decided(event, in_catalogue, served)
    assert isinstance(outcome, Rejected)
    return outcome


def routed(event: InboundRequest) -> Routed:
    outcome = decided(event)
    assert isinstance(outcome, Routed), outcome
    return outcome


def test_h1_an_index_request_goes_to_the_mailbox_of_the_indexer() -> None:
    body = {"documents": TEXT["documents"] * 1, "delete": ["b", "c"], "drop": True}
    work = routed(index(body, user="u")).work
    assert (work.kind, work.role, work.lane, work.collection) == ("index", "index", "batch", "docs")
    assert (work.user, work.stream, work.estimated_tokens) == ("u", False, 0)
    assert work.why == "the whole collection to drop, 1 document to index, 2 documents to delete"
    assert work.deadline_ms == NOW_MS + 1_800_000
    assert json.loads(bytes(work.body)) == body
    assert routed(index(lane="interactive")).work.deadline_ms == NOW_MS + 1_800_000


def test_h1_a_rejected_index_request_is_a_job_of_the_indexer() -> None:
    job = job_of(index({}))
    assert job is not None
    assert job.role == "index"
    assert job_of(index({}, lane="interactive")) is None


def test_h4_a_turn_waits_for_an_indexer_and_a_deletion_does_not() -> None:
    turn = decided(index(collection="memory-", user="u", lane="interactive"), served=ROLES)
    assert isinstance(turn, Routed)
    assert turn.work.role == "index"
    forgetting = index({"delete": ["c/1"]}, collection="memory-", user="u")
    assert rejected(forgetting, served=ROLES).code == "role_not_served"


def test_h4_only_a_memory_has_conversations_to_forget() -> None:
    body = {"drop_conversation": "trip"}
    work = routed(index(body, collection="memory-", user="u")).work
    assert (work.why, json.loads(bytes(work.body))) == ("a conversation to forget", body)
    assert "drop_conversation needs the collection 'memory-'" in rejected(index(body)).message
    with pytest.raises(InvalidBody, match="drop_conversation must be the id of a conversation"):
        extract_index_features(b'{"drop_conversation": 7}')


def test_h1_without_a_section_or_an_indexer_the_message_says_what_to_do() -> None:
    outcome = rejected(index(), WITHOUT)
    assert outcome.code == "kind_not_served"
    assert "the catalogue test has no section retrieval; add `retrieval: {}`" in outcome.message
    outcome = rejected(index(), served=ROLES)
    assert (outcome.code, outcome.message, outcome.retry_after_s) == (
        "role_not_served",
        "no indexer is alive",
        5.0,
    )


@pytest.mark.parametrize(
    ("collection", "user", "message"),
    [
        ("my docs", "", "collection must be 1 to 64 characters"),
        ("", "", "collection must be 1 to 64 characters"),
        ("a.b", "", "collection must be 1 to 64 characters"),
        ("memory-abc", "u", "collection must not begin with 'memory-'"),
        ("memory-", "", "and the request has no user"),
        ("memory-", "u", None),
        ("memory", "", None),
    ],
)
def test_h4_no_request_names_the_memory_of_another_user(
    collection: str, user: str, message: str | None
) -> None:
    event = index(collection=collection, user=user)
    if message is None:
        assert routed(event).work.collection == collection
    else:
        assert message in rejected(event).message


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({}, "body", "neither documents nor ids to delete"),
        ({"documents": [{"text": "x"}]}, "documents[0].id", "documents[0].id is missing"),
        ({"documents": [{"id": "", "text": "x"}]}, "documents[0].id", "must be 1 to 1,024 characters"),
        (
            {"delete": ["a" * (DOCUMENT_ID_CHARACTERS + 1)]},
            "delete[0]",
            "must be 1 to 1,024 characters, but has 1,025",
        ),
        (
            {"documents": [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}]},
            "documents[1].id",
            "documents[1].id is the same as documents[0].id",
        ),
        ({**TEXT, "delete": ["a.md"]}, "delete[0]", "delete[0] is the same as documents[0].id"),
        ({"documents": [{"id": "a"}]}, "documents[0]", "either text or data, and has neither"),
        (
            {"documents": [{"id": "a", "text": "x", "data": "eA=="}]},
            "documents[0]",
            "either text or data, and has both",
        ),
        ({"documents": [{"id": "a", "text": 7}]}, "documents[0].text", "documents[0].text must be text"),
        ({"documents": [{"id": "a", "data": "a b"}]}, "documents[0].data", "as base64"),
        ({"documents": [{"id": "a", "data": "abc"}]}, "documents[0].data", "as base64"),
        (
            {"documents": [{"id": "a", "text": "x", "metadata": {"n": 1, "k": {}}}]},
            "documents[0].metadata.k",
            "documents[0].metadata.k must be text, a number, true or false, or a list of texts",
        ),
        (
            {"documents": [{"id": "a", "text": "x", "metadata": {"k": ["x", None]}}]},
            "documents[0].metadata.k",
            "documents[0].metadata.k must be text, a number, true or false, or a list of texts",
        ),
        ({"documents": "a"}, "documents", "documents must be a list of documents, not text"),
        ({"document": []}, "document", "'document' is not a field; the fields are documents, delete, drop"),
        ({"delete": list(map(str, range(MAX_DOCUMENTS + 1)))}, "documents", "the limit is 1,000"),
        ({**TEXT, "dimensions": -1}, "dimensions", "dimensions must be a positive integer, not -1"),
    ],
)
def test_h1_an_invalid_body_names_the_field(body: Any, field: str, message: str) -> None:
    with pytest.raises(InvalidBody) as caught:
        extract_index_features(json.dumps(body).encode())
    assert caught.value.field == field
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("event", "param"),
    [
        (index({**TEXT, "model": "e", "dimensions": 32}), "dimensions"),
        (index({**TEXT, "model": "m-chat"}), "model"),
        (index({"documents": [{"id": "a", "text": 7}]}), "documents[0].text"),
        (index({}), None),
        (index(collection="a b"), "collection"),
        (index(collection="memory-"), "user"),
        (chat(conversation="c"), "user"),
        (chat(conversation="c" * 257, user="u"), "conversation"),
        (chat(rag={"collection": "a b"}), "rag.collection"),
        (chat(role="embed"), "role"),
        (chat(role="nobody"), "role"),
        (chat(model="e"), "model"),
        (inbound("embed", {"input": "x", "dimensions": 32}), "dimensions"),
        (inbound("embed", {"input": "x"}, role="chat"), "role"),
    ],
)
def test_d6_a_rejection_names_the_field_that_is_wrong(event: InboundRequest, param: str | None) -> None:
    assert rejected(event).param == param


def test_h1_what_the_indexer_reads_is_accepted() -> None:
    document = Document(
        id="a.pdf",
        data=bytes(range(256)),
        media_type="application/pdf",
        metadata={"year": 2026, "tags": ["x"], "draft": False},
    )
    body = msgspec.json.encode(IndexBody(documents=(document,), delete=("b",), model="e", dimensions=64))
    assert extract_index_features(body).documents == 1
    slashes = base64.b64encode(b"\xff" * 9).replace(b"/", b"\\/")
    escaped = b'{"documents":[{"id":"a","data":"' + slashes + b'"}]}'
    assert extract_index_features(escaped).documents == 1
    assert codec.INDEX_BODY.decode(escaped).documents[0].data == b"\xff" * 9


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "m-chat"}, "model is 'm-chat', which is not an embedding model"),
        ({"model": "x"}, "these are e"),
        ({"model": "e", "dimensions": 32}, "it cannot shorten them"),
        ({"model": "e", "dimensions": 64}, None),
    ],
)
def test_h1_the_model_of_a_collection_is_an_embedding_model(
    fields: dict[str, Any], message: str | None
) -> None:
    event = index({**TEXT, **fields})
    if message is None:
        assert routed(event).work.kind == "index"
    else:
        assert message in rejected(event).message


def test_h3_passages_count_in_the_estimate_and_are_passed_on() -> None:
    plain = routed(chat()).work
    work = routed(chat(rag={"collection": "docs", "budget_tokens": 500})).work
    assert work.rag is not None
    assert (work.rag.collection, work.rag.budget_tokens) == ("docs", 500)
    assert work.estimated_tokens == plain.estimated_tokens + 500 + RULES_TOKENS
    long = routed(chat(rag={"collection": "docs", "budget_tokens": 100_000, "whole": True})).work
    assert long.role == "long_context"


def test_h4_a_conversation_is_passed_on_with_room_for_what_is_recalled() -> None:
    work = routed(chat(conversation="c-1", user="u")).work
    assert work.conversation == "c-1"
    assert work.estimated_tokens == routed(chat(user="u")).work.estimated_tokens + 700 + RULES_TOKENS


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rag": {"collection": "memory-x"}}, "rag.collection must not begin with 'memory-'"),
        ({"rag": {"collection": "a b"}}, "rag.collection must be 1 to 64 characters"),
        ({"rag": {"collection": "a", "top_k": 0}}, "rag.top_k"),
        ({"conversation": "c"}, "conversation needs user"),
        ({"conversation": "c" * 257, "user": "u"}, "conversation must be at most 256 characters"),
    ],
)
def test_h3_h4_passages_and_conversations_are_checked(fields: dict[str, Any], message: str) -> None:
    outcome = rejected(chat(**fields))
    assert outcome.code == "invalid_request"
    assert message in outcome.message


@pytest.mark.parametrize("fields", [{"rag": {"collection": "a"}}, {"conversation": "c", "user": "u"}])
def test_h3_h4_without_a_section_the_message_names_it(fields: dict[str, Any]) -> None:
    outcome = rejected(chat(**fields), WITHOUT)
    assert outcome.code == "invalid_request"
    assert "has no section retrieval" in outcome.message


def test_d10_an_unknown_kind_is_rejected_with_the_known_ones() -> None:
    outcome = rejected(inbound("image", {}))
    assert outcome.code == "kind_not_served"
    assert outcome.message.endswith("use 'chat' or 'embed' or 'index'")
