"""H3: a whole collection is marked for a provider that caches only what is marked, and its hits are counted."""

from __future__ import annotations

import json

from penstock.client.client import Client
from tests.harness.processes.fake_indexer import FakeIndexer, found
from tests.harness.processes.system import System
from tests.harness.providers.said import script
from tests.harness.providers.scripted_provider import ScriptedProvider, head, whole
from tests.harness.requests.replies import ask
from tests.harness.suite.waiting import until

PROVIDER = {"prompt_cache": "marked"}
NOON = "The pump starts at noon."
QUESTION = "When does the pump start?"


async def test_h3_the_documents_are_marked_and_passages_are_not(
    client: Client, provider: ScriptedProvider, indexer: FakeIndexer
) -> None:
    script(provider, "Noon [1].")
    indexer.answer = lambda search: found(NOON, whole=search.whole_tokens is not None)
    await ask(client, QUESTION, role="chat", rag={"collection": "docs", "whole": True})
    await ask(client, QUESTION, role="chat", rag="docs")
    marked, unmarked = (call.body["messages"][0] for call in provider.calls)
    (part,) = marked["content"]
    assert part["cache_control"] == {"type": "ephemeral"}
    assert NOON in part["text"]
    assert NOON in unmarked["content"]
    assert "cache_control" not in json.dumps(unmarked)


async def test_h3_tokens_from_the_cache_are_counted(
    client: Client, provider: ScriptedProvider, indexer: FakeIndexer, system: System
) -> None:
    indexer.answer = lambda _: found(NOON, whole=True)
    answer = json.loads(whole("Noon [1]."))
    answer["usage"] = {
        "prompt_tokens": 200,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 128},
    }
    body = json.dumps(answer).encode()
    provider.answer = lambda _: (head("200 OK", "application/json", f"Content-Length: {len(body)}"), body)
    received = await ask(
        client, QUESTION, role="chat", rag={"collection": "docs", "whole": True}, stream=False
    )
    assert received.completed.usage.cached_input_tokens == 128

    async def counted() -> bool:
        return 'retrieval_cached_tokens_total{kind="whole"} 128.0' in await system.metrics()

    await until(counted)
    assert 'penstock_worker_retrievals_total{kind="whole",outcome="found"}' in await system.metrics()
