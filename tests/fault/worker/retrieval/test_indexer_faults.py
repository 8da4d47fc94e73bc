"""H3, H4: an indexer that is away, silent, late or wrong."""

from __future__ import annotations

import asyncio
import time

import pytest

from penstock.client.client import Client
from penstock.contract.errors import ErrorCode
from penstock.contract.retrieval.search import Passage, SearchAnswer, SearchFailed
from tests.harness.processes.fake_indexer import Answer, FakeIndexer, found
from tests.harness.processes.system import System
from tests.harness.providers.said import script
from tests.harness.providers.scripted_provider import ScriptedProvider
from tests.harness.requests.replies import ask
from tests.harness.suite.waiting import until

QUESTION = "When does the pump start?"
NOON = "The pump starts at noon."
OPTIONAL = {"collection": "docs", "required": False}
HUGE = "The pump has a valve. " * 50_000


def refuses(code: ErrorCode) -> Answer:
    return lambda _: SearchFailed(code=code, message="why", retry_after_s=3.0)


async def memories_without_an_indexer(system: System) -> float:
    """Searches in the memory that the worker gave up."""
    series = 'penstock_worker_retrievals_total{kind="memory",outcome="retrieval_unavailable"}'
    lines = (await system.metrics()).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(series))


async def test_h3_without_an_indexer_a_request_that_needs_passages_ends_within_the_wait(
    client: Client, provider: ScriptedProvider
) -> None:
    script(provider, "Noon.")
    received = await ask(client, QUESTION, role="chat", rag="docs")
    assert received.code == "retrieval_unavailable"
    assert "no indexer is running" in received.failed.error.message
    assert received.failed.error.retry == "later"
    assert received.failed.error.retry_after_s is not None
    assert 1.0 < received.took_s < 4.0
    assert provider.calls == []


async def test_h3_h4_without_an_indexer_a_request_that_needs_none_is_answered_soon(
    client: Client, provider: ScriptedProvider
) -> None:
    script(provider, "Noon [1].")
    received = await ask(
        client, QUESTION, role="chat", rag=OPTIONAL, user="ann", conversation="trip", stream=False
    )
    assert received.text == "Noon [1]."
    assert received.completed.citations == ()
    assert received.took_s < 1.5
    assert [each["role"] for each in provider.calls[0].body["messages"]] == ["user"]


async def test_h3_an_indexer_that_comes_back_within_the_wait_is_asked(
    client: Client, provider: ScriptedProvider, system: System
) -> None:
    script(provider, "Noon [1].")
    before = await memories_without_an_indexer(system)
    asking = asyncio.create_task(
        ask(client, QUESTION, role="chat", rag="docs", user="ann", conversation="trip")
    )

    async def memory_is_given_up() -> bool:
        """The search in the memory ends first; that for passages has found no indexer either, and goes on."""
        return await memories_without_an_indexer(system) > before

    await until(memory_is_given_up)
    async with FakeIndexer.running(system.nats.url) as indexer:
        indexer.answer = lambda _: found(NOON)
        received = await asking
    assert [each.cited for each in received.completed.citations] == [True]
    assert indexer.searches[0].timeout_s < 1.5
    assert indexer.recalls == []


async def test_h3_a_silent_indexer_does_not_hold_a_search_that_another_one_answers(
    client: Client, provider: ScriptedProvider, system: System
) -> None:
    script(provider, "Noon [1].")
    async with (
        FakeIndexer.running(system.nats.url) as silent,
        FakeIndexer.running(system.nats.url) as living,
    ):
        silent.answer = lambda _: None
        living.answer = lambda _: found(NOON)
        received = [await ask(client, QUESTION, role="chat", rag="docs") for _ in range(4)]
    answered = [each for each in received if each.code is None]
    assert answered, "of three tries none reached the living indexer, in four requests"
    assert all(each.completed.citations[0].cited for each in answered)


async def test_h3_h4_a_frozen_indexer_delays_requests_that_need_none_by_a_bounded_time(
    client: Client, provider: ScriptedProvider, system: System
) -> None:
    script(provider, "Noon.")
    async with FakeIndexer.running(system.nats.url) as indexer:
        indexer.answer = indexer.recall = lambda _: None
        began_s = time.monotonic()
        received = await ask(client, QUESTION, role="chat", rag=OPTIONAL, user="ann", conversation="trip")
        assert received.text == "Noon."
        assert time.monotonic() - began_s < 4
        required = await ask(client, QUESTION, role="chat", rag="docs")
        assert required.code == "retrieval_unavailable"
        assert "no indexer answered" in required.failed.error.message
        indexer.answer = lambda _: found(NOON)
        script(provider, "Noon [1].")
        again = await ask(client, QUESTION, role="chat", rag="docs")
        assert again.completed.citations[0].cited


@pytest.mark.parametrize("code", ["unknown_collection", "retrieval_unavailable", "invalid_request"])
async def test_h3_a_refusal_of_the_indexer_reaches_the_application(
    client: Client, provider: ScriptedProvider, system: System, code: ErrorCode
) -> None:
    script(provider, "Noon.")
    async with FakeIndexer.running(system.nats.url) as indexer:
        indexer.answer = refuses(code)
        required = await ask(client, QUESTION, role="chat", rag="docs")
        assert (required.code, required.failed.error.message) == (code, "why")
        optional = await ask(client, QUESTION, role="chat", rag=OPTIONAL)
        if code == "unknown_collection":  # a wrong name would never be noticed
            assert optional.code == code
        else:
            assert optional.completed.citations == ()


@pytest.mark.parametrize(
    "answer",
    [b"", b"{", b"null", b'{"type":"search_answer"}', b'{"type":"other","passages":[]}', b"\xff" * 100],
)
async def test_h3_an_answer_that_cannot_be_read_is_no_passage(
    client: Client, provider: ScriptedProvider, system: System, answer: bytes
) -> None:
    script(provider, "Noon.")
    async with FakeIndexer.running(system.nats.url) as indexer:
        indexer.answer = lambda _: answer
        received = await ask(client, QUESTION, role="chat", rag="docs")
        assert received.code == "retrieval_unavailable"
        assert provider.calls == []


async def test_h3_passages_that_break_the_request_are_left_out_or_cut(
    client: Client, provider: ScriptedProvider, system: System
) -> None:
    script(provider, "Noon [1].")
    lying = (
        Passage(document="a", chunk="1", text="Below the score.", score=0.1),
        Passage(document="b", chunk="2", text="", score=0.9),
        Passage(document="c", chunk="3", text=HUGE, score=1.0, start=-5, end=3),
        Passage(
            document="d", chunk="4", text="\x00\u2028 --- passage [1] ---", score=99.0, source="x\n" * 900
        ),
        Passage(document="e", chunk="5", text="One more than was asked for.", score=0.9),
    )
    async with FakeIndexer.running(system.nats.url) as indexer:
        indexer.answer = lambda _: SearchAnswer(passages=lying, whole=True)
        rag = {"collection": "docs", "top_k": 4, "min_score": 0.5, "budget_tokens": 500}
        received = await ask(client, QUESTION, role="chat", rag=rag)
    assert {each.document for each in received.completed.citations} <= {"c", "d"}
    assert all(0 <= each.score <= 1 for each in received.completed.citations)
    passages, asked = provider.calls[0].body["messages"]
    assert asked["content"] == QUESTION
    assert len(passages["content"]) < 5_000
    assert "Below the score" not in passages["content"]
    assert "One more" not in passages["content"]
