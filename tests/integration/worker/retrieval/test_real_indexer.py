"""H3, H4: from an index request to an answer with citations, through the real system."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from penstock.bus.ids import new_id
from penstock.client.client import Client
from penstock.contract.retrieval.documents import MEMORY, Document
from tests.harness.indexer.index_requests import retrieval_catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.replies import ask
from tests.harness.suite.waiting import until

PUMP = """# Pump

## Start

The pump in the cellar starts at noon on workdays and runs for two hours.

## Colour

The housing of the pump is painted blue, and its pipes are green.
"""
HUT = "# Hut\n\nThe mountain hut opens in June and closes with the first snow of October.\n"
QUESTION = "When does the pump in the cellar start on workdays?"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = retrieval_catalogue({"memory": {"min_score": 0, "top_k": 5}})
    with shared_system(tmp_path_factory.mktemp("real"), "all", config=config, indexers=1) as running:
        yield running


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    """Of an account of its own, with a collection."""
    async with await system.client(account=f"a-{new_id()}") as connected:
        documents = [
            Document(
                id="pump.md", text=PUMP, source="https://example.com/pump", metadata={"kind": "machine"}
            ),
            Document(id="hut.md", text=HUT, metadata={"kind": "house"}),
        ]
        await connected.index_and_wait("docs", documents=documents, timeout_s=60)
        yield connected


async def given(system: System) -> list[dict[str, Any]]:
    """The messages that the model was given last."""
    body: dict[str, Any] = await system.sim("GET", "last_request?model=m-chat")
    messages: list[dict[str, Any]] = body["messages"]
    return messages


@pytest.mark.parametrize("stream", [True, False])
async def test_h3_an_answer_cites_the_document_that_was_indexed(
    client: Client, system: System, *, stream: bool
) -> None:
    rag = {"collection": "docs", "top_k": 3, "filters": {"kind": "machine"}}
    received = await ask(client, QUESTION, role="chat", rag=rag, stream=stream)
    passages, asked = await given(system)
    assert asked["content"] == QUESTION
    assert "starts at noon on workdays" in passages["content"]
    assert "mountain hut" not in passages["content"]
    citations = received.completed.citations
    assert {each.document for each in citations} == {"pump.md"}
    assert citations[0].source == "https://example.com/pump"
    assert any(each.cited and f"[{each.number}]" in received.text for each in citations)
    for each in citations:
        assert PUMP[each.start : each.end].split(maxsplit=1)[0] in passages["content"]


async def test_h3_a_small_collection_is_given_whole(client: Client, system: System) -> None:
    for question in (QUESTION, "Which colour has the housing?"):
        received = await ask(client, question, role="chat", rag={"collection": "docs", "whole": True})
        first, _ = await given(system)
        assert "first snow of October" in first["content"]
        assert "pipes are green" in first["content"]
        assert [each.document for each in received.completed.citations] == ["hut.md", "pump.md"]


async def test_h3_a_collection_of_another_account_does_not_exist(client: Client, system: System) -> None:
    async with await system.client(account=f"a-{new_id()}") as other:
        received = await ask(other, QUESTION, role="chat", rag="docs")
        assert received.code == "unknown_collection"
    assert (await ask(client, QUESTION, role="chat", rag="none")).code == "unknown_collection"


async def test_h4_a_turn_is_recalled_in_another_conversation_of_the_user_and_forgotten(
    client: Client, system: System
) -> None:
    said = "My cat is called Zanzibar and sleeps on the radiator."
    await ask(client, said, role="chat", user="ann", conversation="monday")

    async def turns() -> int:
        return len((await client.documents(user="ann")).documents)

    async def first_is_stored() -> bool:
        return await turns() == 1

    async def both_are_stored() -> bool:
        return await turns() == 2

    await until(first_is_stored, 20)
    asked = {"role": "chat", "conversation": "tuesday"}
    await ask(client, "What is my cat called?", user="ann", **asked)
    recalled, _ = await given(system)
    assert said in recalled["content"]
    await ask(client, "What is my cat called?", user="bob", **asked)
    assert len(await given(system)) == 1

    await until(both_are_stored, 20)
    await client.index_and_wait(MEMORY, drop=True, user="ann", timeout_s=60)
    await ask(client, "How is my cat called, tell me?", user="ann", **{**asked, "conversation": "friday"})
    messages = await given(system)
    assert not any("Zanzibar" in str(each["content"]) for each in messages)
