"""H2, E4: workers pay for a text once between them, and a killed one loses nothing."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from nats.aio.msg import Msg

from penstock.client.client import Client
from penstock.contract.retrieval import subjects
from services.worker.embedding.vector_claims import RELEASED, is_claim
from tests.harness.nats.binary import require_nats_server
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, running_system
from tests.harness.requests.embed import EmbedReply, EmbedRequests, vector_of
from tests.harness.suite.waiting import until

MODEL = "m-embed"
TEXTS = [f"a text that several applications need, number {number}" for number in range(500)]


def config(**role: Any) -> str:
    return catalogue(
        {"embed": (MODEL,)},
        models={MODEL: {"embedding": {"dimensions": 256}, "price": {"input": 20_000}}},
        roles={"embed": {"slots_per_worker": 64, **role}},
    )


async def embedded_by(system: System, worker: Process) -> float:
    """Texts that a worker has had embedded."""
    for line in (await system.metrics(worker)).splitlines():
        if line.startswith('penstock_embedding_batch_texts_sum{model="m-embed"}'):
            return float(line.split()[-1])
    return 0.0


async def know_each_other(client: Client) -> None:
    """Wait until both workers claim texts, which a worker does once it has seen a heartbeat of the other."""
    requests = await EmbedRequests.started(client, "b")
    claims: set[bytes] = set()

    async def on_message(msg: Msg) -> None:
        if is_claim(msg.data):
            claims.add(msg.data)

    watching = await client._nc.subscribe(subjects.embedding("*"), cb=on_message)
    numbers = count()

    async def both_claim() -> bool:
        await asyncio.gather(*(requests.embed(f"wake up {next(numbers)}") for _ in range(20)))
        return len(claims - {RELEASED}) == 2

    await until(both_claim)
    await watching.unsubscribe()


async def counts(system: System) -> dict[str, Any]:
    found: dict[str, Any] = (await system.sim("GET", "counts"))["models"].get(MODEL, {})
    return found


async def test_h2_two_workers_pay_for_the_same_texts_once(tmp_path: Path) -> None:
    require_nats_server()
    async with (
        running_system(tmp_path, "embed", "embed", config=config()) as system,
        await system.client() as one,
        await system.client() as other,
    ):
        await know_each_other(one)
        await system.sim("POST", "reset")
        await system.sim("PUT", "speed", {"tokens_per_second": 0, "first_token_ms": 0, "latency_ms": 200})
        senders = [await EmbedRequests.started(one, "a"), await EmbedRequests.started(other, "b")]
        parts = [TEXTS[at : at + 50] for at in range(0, 500, 50)]
        replies = await asyncio.gather(*(sender.embed(part) for part in parts for sender in senders))
        for reply, part in zip(replies, [part for part in parts for _ in senders], strict=True):
            assert reply.vectors == [vector_of(text) for text in part]
        found = await counts(system)
        assert (found["texts"], found["repeated_texts"]) == (500, 0)
        assert all([await embedded_by(system, worker) > 0 for worker in system.workers])
        assert sum(reply.result.embedded for reply in replies) == 500
        assert sum(reply.completed.usage.input_tokens for reply in replies) == found["prompt_tokens"]


@pytest.mark.parametrize("latency_ms", [300, 1_500])
async def test_e4_a_killed_worker_loses_nothing_and_repeats_only_its_calls(
    tmp_path: Path, latency_ms: int
) -> None:
    require_nats_server()
    async with (
        running_system(tmp_path, "embed", "embed", config=config()) as system,
        await system.client() as client,
    ):
        await know_each_other(client)
        await system.sim("POST", "reset")
        await system.sim(
            "PUT", "speed", {"tokens_per_second": 0, "first_token_ms": 0, "latency_ms": latency_ms}
        )
        requests = await EmbedRequests.started(client)
        sent: list[EmbedReply] = [await requests.send(TEXTS[at : at + 50]) for at in range(0, 500, 50)]

        async def calls_are_in_flight() -> bool:
            return bool((await counts(system)).get("in_flight", 0))

        await until(calls_are_in_flight)
        system.workers[0].kill()
        await asyncio.gather(*(reply.ended for reply in sent))
        for at, reply in enumerate(sent):
            assert reply.vectors == [vector_of(text) for text in TEXTS[50 * at : 50 * at + 50]]
        found = await counts(system)
        assert found["cancelled"] + found["ok"] == found["attempts"]
        assert found["repeated_texts"] == 0  # the calls of the killed worker were cut
