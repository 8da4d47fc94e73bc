"""G6: values that the policy redacts or blocks never reach an embedding model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from penstock.contract.guard.checks import GuardCheck, GuardVerdict
from penstock.contract.retrieval.documents import Document
from tests.harness.indexer.index_requests import index, retrieval_catalogue
from tests.harness.processes.fake_guard import FakeGuard, emails, finding, verdict
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.embed import EmbedReply, EmbedRequests, vector_of

GUARD = {
    "input": {"prompt_injection": "block", "secrets": "flag", "personal_data": "redact"},
    "output": {},
    "wait_s": 1,
    "accounts": {
        "flags": {"input": {"personal_data": "flag"}},
        "off": {"mode": "off"},
        "strict": {"mode": "before", "input": {"personal_data": "block"}},
    },
}
TEXTS = ["Write to ann@example.com, then to ann@example.com.", "nothing in here", "bob@example.com"]
HIDDEN = ["Write to [EMAIL_1], then to [EMAIL_1].", "nothing in here", "[EMAIL_1]"]


def decide(check: GuardCheck) -> GuardVerdict:
    """What the policies of this module say."""
    if check.account == "strict":
        return verdict(check, *(finding(each.text, each.start, each.end, "block") for each in emails(check)))
    return verdict(check, *emails(check))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("guarded_embedding")
    config = retrieval_catalogue(guard=GUARD)
    with shared_system(directory, "all", config=config, indexers=1) as running:
        yield running


@pytest.fixture(autouse=True)
async def guard(system: System) -> AsyncIterator[FakeGuard]:
    async with FakeGuard.running(system.nats.url) as running:
        running.decide = decide
        yield running


async def embed(system: System, account: str, texts: object) -> EmbedReply:
    async with await system.client() as client:
        requests = await EmbedRequests.started(client, account)
        return await requests.embed(texts)  # type: ignore[arg-type]


async def test_g6_an_embedding_model_gets_placeholders_and_their_vectors_are_kept(
    system: System, guard: FakeGuard
) -> None:
    await system.sim("POST", "reset")
    reply = await embed(system, "demo", TEXTS)
    assert reply.vectors == [vector_of(text) for text in HIDDEN]
    (check,) = guard.checks
    assert check.detectors == ("secrets", "personal_data")
    assert [text.text for text in check.texts] == TEXTS
    (reported,) = reply.completed.guarded
    assert (reported.direction, reported.name, reported.action) == ("input", "personal_data/email", "redact")
    assert reported.count == 3

    known = await embed(system, "off", HIDDEN)
    assert (known.result.from_cache, known.result.embedded) == (3, 0)
    plain = await embed(system, "off", TEXTS)
    assert plain.vectors == [vector_of(text) for text in TEXTS]
    assert plain.result.embedded == 2, "what was redacted has the vector of no original"


async def test_g6_a_vector_does_not_depend_on_the_other_texts_of_the_request(system: System) -> None:
    alone = await embed(system, "demo", ["cy@example.com and dan@example.com"])
    behind = await embed(system, "demo", ["eve@example.com", "cy@example.com and dan@example.com"])
    assert alone.vectors[0] == behind.vectors[1] == vector_of("[EMAIL_1] and [EMAIL_2]")


@pytest.mark.parametrize("account", ["flags", "off"])
async def test_g6_an_account_without_such_a_policy_is_not_checked(
    system: System, guard: FakeGuard, account: str
) -> None:
    reply = await embed(system, account, TEXTS)
    assert reply.vectors == [vector_of(text) for text in TEXTS]
    assert guard.checks == []


async def test_g6_a_blocked_text_is_not_embedded(system: System) -> None:
    await system.sim("POST", "reset")
    error = (await embed(system, "strict", ["fine", "mail fay@example.com"])).failure.error
    assert error.code == "blocked"
    assert error.categories == ("personal_data/email",)
    assert await system.embedded_texts() == 0


async def test_g6_tokens_that_cannot_be_read_are_refused(system: System) -> None:
    error = (await embed(system, "demo", [[1, 2, 3]])).failure.error
    assert error.code == "invalid_request"
    assert "send texts" in error.message
    assert (await embed(system, "off", [[1, 2, 3]])).completed.usage.input_tokens > 0


async def test_g6_without_a_verdict_nothing_is_embedded(system: System, guard: FakeGuard) -> None:
    guard.decide = lambda _: None
    await system.sim("POST", "reset")
    error = (await embed(system, "demo", ["gus@example.com"])).failure.error
    assert error.code == "guard_unavailable"
    assert await system.embedded_texts() == 0


async def test_g6_h1_documents_are_indexed_and_found_by_their_redacted_texts(system: System) -> None:
    await system.sim("POST", "reset")
    documents = [Document(id="a", text="Our office is led by hal@example.com and others.")]
    async with await system.client(account="demo") as client:
        report = await index(client, documents=documents)
        assert (report.indexed, report.embedded) == (1, 1)
        found = await client.search("docs", "led by hal@example.com", mode="vector")
    assert [passage.document for passage in found.passages] == ["a"]
    assert "hal@example.com" in found.passages[0].text, "what is stored and shown is the document itself"
    embedded = await embed(system, "off", ["Our office is led by [EMAIL_1] and others."])
    assert embedded.result.from_cache == 1


async def test_g6_h1_a_document_that_is_blocked_is_refused_alone(system: System) -> None:
    documents = [
        Document(id=f"{number}", text=f"Document {number}" + " of ida@example.com" * (number % 3 == 0))
        for number in range(300)
    ]
    async with await system.client(account="strict") as client:
        report = await index(client, documents=documents)
    assert report.indexed == 200
    assert len(report.refused) == 100
    assert all("the safety guard refuses it" in each.reason for each in report.refused)
