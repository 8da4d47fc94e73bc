"""H4: turns are remembered after the answer, and recalled before the next one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from penstock.client.client import Client
from penstock.contract.retrieval.documents import MEMORY
from penstock.contract.retrieval.search import RecalledTurns, SearchAnswer
from tests.harness.processes.fake_indexer import FakeIndexer, found
from tests.harness.processes.system import System
from tests.harness.providers.said import script
from tests.harness.providers.scripted_provider import End, ScriptedProvider, head
from tests.harness.requests.jobs import job_in_state
from tests.harness.requests.remembered_turns import RememberedTurns
from tests.harness.requests.replies import ask

QUESTION = "Where do I spend the holidays?"


@pytest.fixture
async def account(system: System) -> AsyncIterator[RememberedTurns]:
    async with RememberedTurns.of_new_account(system) as turns:
        yield turns


@pytest.mark.parametrize("stream", [True, False])
async def test_h4_a_turn_is_remembered_once_it_is_answered(
    account: RememberedTurns, provider: ScriptedProvider, indexer: FakeIndexer, *, stream: bool
) -> None:
    script(provider, "In Bern, as last year.")
    received = await ask(
        account.client, QUESTION, role="chat", stream=stream, user="ann", conversation="trip"
    )
    ((request, document),) = await account.turns()
    assert (request.collection, request.user, request.client) == (MEMORY, "ann", "memory")
    assert document.id == f"trip/{received.id}"
    assert document.text == f"Question: {QUESTION}\n\nAnswer: In Bern, as last year."
    assert document.metadata["conversation"] == "trip"
    (recall,) = indexer.recalls
    assert (recall.user, recall.conversation, recall.query) == ("ann", "trip", QUESTION)
    assert (recall.top_k, recall.min_score) == (3, 0.3)


async def test_h4_a_job_is_remembered(
    account: RememberedTurns, provider: ScriptedProvider, indexer: FakeIndexer
) -> None:
    script(provider, "In Bern.")
    job = await account.client.submit(QUESTION, role="chat", user="ann", conversation="trip")
    await job_in_state(account.client, job, "completed")
    assert [document.id for _, document in await account.turns()] == [f"trip/{job}"]
    assert len(indexer.recalls) == 1


async def test_h4_what_was_said_stands_before_the_model_as_dated_data(
    client: Client, provider: ScriptedProvider, indexer: FakeIndexer
) -> None:
    script(provider, "In Bern.")
    earlier = "Question: Book the hotel in Bern.\n\nAnswer: It is booked."
    metadata = {"conversation": "old", "time": "2026-03-01T10:00:00+00:00"}
    indexer.recall = lambda _: found(earlier, metadata=metadata)
    received = await ask(client, QUESTION, role="chat", user="ann", conversation="trip")
    assert received.completed.recalled == (RecalledTurns(conversation="docs", turns=1),)
    (call,) = provider.calls
    remembered, asked = call.body["messages"]
    assert asked["content"] == QUESTION
    assert remembered["role"] == "system"
    assert earlier in remembered["content"]
    assert "excerpt of 2026-03-01 ---" in remembered["content"]
    assert "quoted data" in remembered["content"]
    assert received.completed.citations == ()


async def test_h4_the_reply_counts_the_turns_that_were_recalled_by_conversation(
    client: Client, provider: ScriptedProvider, indexer: FakeIndexer
) -> None:
    script(provider, "In Bern.")
    trip = found("Question: I like Bern.", document="trip/2026/1").passages
    work = found("Question: I work on Monday.", document="work/1").passages
    parts = found("Question: one part of a turn", "another part of it", document="trip/2026/2").passages
    for passages, expected in ((trip + work, {"trip/2026": 1, "work": 1}), (trip + parts, {"trip/2026": 2})):
        indexer.recall = lambda _, passages=passages: SearchAnswer(passages=passages, model="embedding")  # type: ignore[misc]
        reply = await client.chat(QUESTION, role="chat", user="ann", conversation="trip")
        assert {each.conversation: each.turns for each in reply.recalled} == expected


async def test_h4_a_turn_that_is_still_in_the_messages_is_not_repeated(
    client: Client, provider: ScriptedProvider, indexer: FakeIndexer
) -> None:
    script(provider, "In Bern.")
    indexer.recall = lambda _: found("Question: Book the hotel.\n\nAnswer: It is booked.")
    prompt = [
        {"role": "user", "content": "Book the hotel."},
        {"role": "assistant", "content": "It is booked."},
        {"role": "user", "content": QUESTION},
    ]
    received = await ask(client, prompt, role="chat", user="ann", conversation="trip")
    assert provider.calls[0].body["messages"] == prompt
    assert received.completed.recalled == ()


async def test_h4_passages_and_memory_are_kept_apart(
    client: Client, provider: ScriptedProvider, indexer: FakeIndexer
) -> None:
    script(provider, "In Bern [1].")
    indexer.answer = lambda _: found("The hut is closed in winter.")
    indexer.recall = lambda _: found("Question: I like Bern.\n\nAnswer: Noted.")
    received = await ask(client, QUESTION, role="chat", user="ann", conversation="trip", rag="docs")
    added, _ = provider.calls[0].body["messages"]
    assert added["content"].index("The hut") < added["content"].index("I like Bern")
    assert [each.document for each in received.completed.citations] == ["docs/1.md"]


async def test_h4_nothing_is_remembered_without_a_conversation_or_an_answer(
    account: RememberedTurns, provider: ScriptedProvider, indexer: FakeIndexer
) -> None:
    script(provider, "In Bern.")
    await ask(account.client, QUESTION, role="chat", user="ann")
    provider.answer = lambda _: (head("400 Bad Request", "application/json"), b"{}")
    failed = await ask(account.client, QUESTION, role="chat", user="ann", conversation="trip")
    assert failed.code is not None
    assert await account.turns() == []
    assert len(indexer.recalls) == 1


async def test_h4_an_answer_that_was_started_again_is_remembered_as_it_ended(
    account: RememberedTurns, provider: ScriptedProvider, indexer: FakeIndexer
) -> None:
    script(provider, "In Bern.")
    answer, calls = provider.answer, []

    def broken_first(call):  # type: ignore[no-untyped-def]
        calls.append(call)
        parts = list(answer(call))
        return (*parts[:2], 0.1, End.RESET) if len(calls) == 1 else parts

    provider.answer = broken_first
    received = await ask(account.client, QUESTION, role="chat", user="ann", conversation="trip")
    assert len(received.restarts) == 1
    ((_, document),) = await account.turns()
    assert document.text.endswith("Answer: In Bern.")
    assert len(indexer.recalls) == 1
