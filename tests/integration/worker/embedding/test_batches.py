"""H2: texts of many requests share provider calls, and each gets its own vector."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from penstock.bus.ids import new_id
from penstock.client.client import Client
from penstock.contract.presence import Presence, RoleStatus
from penstock.contract.streams import WORK
from penstock.runtime.heartbeat import Heartbeat
from tests.harness.nats.binary import require_nats_server
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, running_system
from tests.harness.requests.embed import EmbedReply, EmbedRequests, vector_of
from tests.harness.suite.waiting import until

MODEL = "m-embed"
DIMENSIONS = 256


def embedding_catalogue(model: str = MODEL, **embedding: Any) -> str:
    section = {"dimensions": DIMENSIONS, "shortens": True, **embedding}
    price = {"input": 20_000, "output": 0}
    return catalogue(
        {"embed": (model,)},
        models={model: {"embedding": section, "price": price}},
        roles={"embed": {"slots_per_worker": 64}},
    )


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    require_nats_server()
    async with running_system(tmp_path, "embed", config=embedding_catalogue()) as running:
        yield running


@pytest.fixture
async def requests(system: System) -> AsyncIterator[EmbedRequests]:
    async with await system.client() as client:
        yield await EmbedRequests.started(client)


@asynccontextmanager
async def announced_role(client: Client) -> AsyncIterator[None]:
    """The router accepts requests, as for a worker that has no free slot."""
    roles = (RoleStatus(role="embed", slots=512, running=0),)
    presence = Presence(service="worker", instance=new_id(), at_ms=0, roles=roles)
    heartbeat = Heartbeat(client._nc, lambda: presence)
    await heartbeat.start()
    yield
    await heartbeat.stop()


async def _waiting(client: Client, requests: int) -> bool:
    """Whether so many requests are in mailboxes. Calls are few where requests are at the worker together: those that
    a busy client or router sends one after the other are a call every 60 ms.
    """
    return (await client._nc.jetstream().stream_info(WORK.name)).state.messages >= requests


async def all_of(replies: list[EmbedReply]) -> list[EmbedReply]:
    await asyncio.gather(*(reply.ended for reply in replies))
    return replies


async def test_h2_each_text_gets_its_own_vector(requests: EmbedRequests) -> None:
    texts = [f"the text with the number {number}" for number in range(300)]
    reply = await requests.embed([*texts, texts[7]])
    assert len(reply.vectors) == 301
    assert reply.vectors == [vector_of(text) for text in [*texts, texts[7]]]
    assert (reply.result.texts, reply.result.embedded, reply.result.joined) == (301, 300, 1)
    assert reply.result.tokens == reply.completed.usage.input_tokens > 300


async def test_h2_a_thousand_requests_at_once_are_few_calls(system: System, requests: EmbedRequests) -> None:
    texts = [f"a single text, of request {number}" for number in range(1_000)]
    await system.workers[0].terminate()
    sent = await asyncio.gather(*(requests.send(text, user=f"u{len(text)}") for text in texts))
    await system.new_worker("embed").start()
    replies = await all_of(list(sent))
    assert [reply.vectors for reply in replies] == [[vector_of(text)] for text in texts]
    assert await system.attempts(MODEL) <= 20


async def test_h2_fewer_dimensions_of_a_model_that_shortens(requests: EmbedRequests) -> None:
    reply = await requests.embed("a text", dimensions=64)
    assert reply.vectors == [vector_of("a text", 64)]
    refused = await requests.embed("a text", dimensions=1_000)
    assert refused.failure.error.code == "invalid_request"


async def test_h2_known_texts_cost_nothing(system: System, requests: EmbedRequests) -> None:
    texts = [f"a text that is known, number {number}" for number in range(1_500)]
    first = await requests.embed(texts)
    assert (first.result.embedded, first.result.from_cache) == (1_500, 0)
    calls = await system.attempts(MODEL)
    again = await requests.embed([*texts[:40], "a new one"])
    assert (again.result.embedded, again.result.from_cache, again.completed.attempt) == (1, 40, 1)
    other = system.new_worker("embed")
    await other.start()
    system.workers[0].kill()
    stored = await requests.embed(texts)
    assert (stored.result.embedded, stored.result.from_cache, stored.completed.cost_microusd) == (0, 1_500, 0)
    assert stored.vectors == first.vectors
    assert await system.attempts(MODEL) == calls + 1
    assert 'penstock_embedding_texts_total{role="embed",source="stored"} 1500.0' in await system.metrics(
        other
    )


async def test_h2_a_thousand_requests_of_a_client_are_few_calls(system: System) -> None:
    texts = [f"a single text of a client, number {number}" for number in range(1_000)]
    await system.workers[0].terminate()
    async with await system.client() as client, announced_role(client):
        embedding = asyncio.gather(*(client.embed(text, user=f"u{len(text)}") for text in texts))
        await until(lambda: _waiting(client, len(texts)))
        await system.new_worker("embed").start()
        found = await embedding
    assert [each.vectors[0].tolist() for each in found] == [vector_of(text) for text in texts]
    assert await system.attempts(MODEL) <= 20
