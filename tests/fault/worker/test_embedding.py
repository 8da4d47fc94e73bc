"""H2, D1, D2, D6, D8, F2: embed requests with failing providers, lost workers, and without stored vectors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from penstock.bus.connection import connect
from penstock.client.client import Client
from penstock.contract.events import UsageRecorded
from penstock.contract.streams import EMBEDDINGS
from tests.harness.nats.binary import require_nats_server
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, running_system
from tests.harness.records.stored_events import stored_events
from tests.harness.requests.embed import EmbedReply, EmbedRequests, vector_of
from tests.harness.suite.waiting import until

MODEL, OTHER = "m-embed", "m-other"
TEXTS = [f"a sentence about pumps and rivers, number {number}" for number in range(120)]
SLOW = {"tokens_per_second": 0, "first_token_ms": 0, "latency_ms": 800}


def config() -> str:
    embedding = {"dimensions": 256, "space": "one"}
    price = {"input": 20_000}
    models = {
        MODEL: {"embedding": {**embedding, "max_inputs": 40}, "price": price},
        OTHER: {"embedding": embedding, "price": price},
    }
    role = {"slots_per_worker": 64, "retry": {"max_attempts": 5}, "timeouts": {"non_streaming_s": 5}}
    return catalogue({"embed": (MODEL,), "embed_safe": (MODEL, OTHER)}, models=models, role=role)


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    require_nats_server()
    async with running_system(tmp_path, "embed,embed_safe", config=config()) as running:
        yield running


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with await system.client() as connected:
        yield connected


@pytest.fixture
async def requests(client: Client) -> EmbedRequests:
    return await EmbedRequests.started(client)


async def counts(system: System, model: str = MODEL) -> dict[str, Any]:
    found: dict[str, Any] = (await system.sim("GET", "counts"))["models"].get(model, {})
    return found


async def in_flight(system: System, number: int = 1) -> None:
    async def called() -> bool:
        return int((await counts(system)).get("in_flight", 0)) >= number

    await until(called)


async def usage_of(system: System, *replies: EmbedReply) -> list[UsageRecorded]:
    ids = {reply.request_id for reply in replies}
    return [event for event in await stored_events(system, UsageRecorded) if event.id in ids]


def is_answered(reply: EmbedReply, texts: list[str]) -> bool:
    return reply.vectors == [vector_of(text) for text in texts]


@pytest.mark.parametrize("behaviour", ["500", "429=0.3", "cut", "malformed", "empty", "html", "reset"])
async def test_d2_only_what_failed_is_tried_again(
    system: System, requests: EmbedRequests, behaviour: str
) -> None:
    await system.sim("PUT", "behaviour", {MODEL: behaviour})
    reply = await requests.send(TEXTS, within_s=20)

    async def has_failed() -> bool:
        return bool((await counts(system)).get("attempts", 0) >= 2)

    await until(has_failed)
    await system.sim("PUT", "behaviour", {MODEL: ""})
    await reply.ended
    assert is_answered(reply, TEXTS)
    found = await counts(system)
    assert found["texts"] == len(TEXTS)
    events = await usage_of(system, reply)
    completed = [event for event in events if event.outcome == "completed"]
    assert sum(event.input_tokens for event in completed) == reply.completed.usage.input_tokens
    assert [event.ends for event in events].count(True) == 1


async def test_a4_another_model_of_the_space_answers(system: System, requests: EmbedRequests) -> None:
    await system.sim("PUT", "behaviour", {MODEL: "503"})
    reply = await requests.embed(TEXTS[:30], role="embed_safe", within_s=15)
    assert is_answered(reply, TEXTS[:30])
    assert (reply.completed.model, reply.result.space) == (OTHER, "one")


@pytest.mark.parametrize("behaviour", ["malformed", "empty", "html"])
async def test_d6_a_damaged_answer_is_never_delivered(
    system: System, requests: EmbedRequests, behaviour: str
) -> None:
    await system.sim("PUT", "behaviour", {MODEL: behaviour})
    reply = await requests.embed(TEXTS[:3], within_s=6)
    assert reply.failure.error.code in {"provider_unavailable", "deadline_exceeded"}


async def test_d1_a_deadline_ends_the_request_and_not_its_batch(
    system: System, requests: EmbedRequests
) -> None:
    await system.sim("PUT", "speed", SLOW)
    late, other = await asyncio.gather(
        requests.send(TEXTS[0], within_s=0.5), requests.send(TEXTS[1], within_s=10)
    )
    await asyncio.gather(late.ended, other.ended)
    assert late.failure.error.code == "deadline_exceeded"
    assert is_answered(other, TEXTS[1:2])


async def test_d8_a_cancelled_request_leaves_its_batch_and_pays_its_share(
    system: System, client: Client, requests: EmbedRequests
) -> None:
    await system.sim("PUT", "speed", SLOW)
    gone, other = await asyncio.gather(requests.send(TEXTS[0]), requests.send(TEXTS[1]))
    await in_flight(system)
    await requests.cancel(gone)
    await asyncio.gather(gone.ended, other.ended)
    assert gone.failure.error.code == "cancelled"
    assert is_answered(other, TEXTS[1:2])
    (event,) = await usage_of(system, gone)
    assert (event.outcome, event.estimated) == ("cancelled", True)
    assert event.input_tokens > 0
    known = await requests.embed(TEXTS[0])
    assert known.result.from_cache == 1


async def test_f2_the_calls_of_a_killed_worker_are_recorded_at_their_share(
    system: System, requests: EmbedRequests
) -> None:
    await system.sim("PUT", "speed", SLOW)
    reply = await requests.send(TEXTS, within_s=40, estimated_tokens=1_200)
    await in_flight(system, 3)
    system.workers[0].kill()
    system.workers[0] = system.new_worker("embed,embed_safe")
    await system.workers[0].start()
    await reply.ended
    assert is_answered(reply, TEXTS)
    events = await usage_of(system, reply)
    lost = [event for event in events if event.outcome == "worker_lost"]
    assert len(lost) == 3
    assert sum(event.input_tokens for event in lost) == pytest.approx(1_200, abs=60)
    assert all(event.estimated for event in lost)


async def test_h2_without_stored_vectors_texts_are_embedded_again(
    system: System, requests: EmbedRequests
) -> None:
    nc = await connect(system.nats.url, name="test")
    try:
        await nc.jetstream().delete_stream(EMBEDDINGS.name)
        first = await requests.embed(TEXTS, within_s=20)
        again = await requests.embed(TEXTS[:10], within_s=20)
    finally:
        await nc.close()
    assert is_answered(first, TEXTS)
    assert is_answered(again, TEXTS[:10])


async def test_f2_every_request_pays_its_share_and_no_more(system: System, requests: EmbedRequests) -> None:
    sizes = (1, 2, 3, 17, 40, 57)
    starts = [sum(sizes[:at]) for at in range(len(sizes))]
    parts = [TEXTS[start : start + size] for start, size in zip(starts, sizes, strict=True)]
    replies = await asyncio.gather(*(requests.embed(part) for part in parts))
    found = await counts(system)
    assert sum(reply.completed.usage.input_tokens for reply in replies) == found["prompt_tokens"]
    events = await usage_of(system, *replies)
    assert sum(event.input_tokens for event in events) == found["prompt_tokens"]
    assert sum(event.cost_picousd for event in events) == found["prompt_tokens"] * 20_000
    assert [event.ends for event in events].count(True) == len(replies)
