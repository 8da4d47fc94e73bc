"""D7, H2: nats-server is killed and started again with its store while embed requests are under way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from penstock.contract.events import UsageRecorded
from tests.harness.nats.binary import require_nats_server
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import running_system
from tests.harness.records.stored_events import stored_events
from tests.harness.requests.embed import vector_of
from tests.harness.requests.load import stored_ends
from tests.harness.suite.waiting import until

MODEL = "m-embed"
REQUESTS, OWN, SHARED = 24, 10, 5
"""Requests, and the texts of each that it has alone, and that all have."""
CALLS, INPUTS = 4, 30
"""Calls of a worker at once, and the texts of each."""


def config() -> str:
    model = {"embedding": {"dimensions": 256, "max_inputs": INPUTS}, "price": {"input": 20_000}}
    return catalogue({"embed": (MODEL,)}, models={MODEL: model}, roles={"embed": {"slots_per_worker": 64}})


@pytest.mark.parametrize("away_s", [0.3, 4.0], ids=["short", "longer than the acknowledgement"])
@pytest.mark.parametrize("workers", [1, 2])
async def test_d7_embed_requests_end_once_after_a_restart_of_nats_server(
    tmp_path: Path, workers: int, away_s: float
) -> None:
    require_nats_server()
    shared = [f"a text of all requests, number {number}" for number in range(SHARED)]
    parts = [
        [*(f"a text of request {request}, number {number}" for number in range(OWN)), *shared]
        for request in range(REQUESTS)
    ]
    async with (
        running_system(tmp_path, *["embed"] * workers, config=config()) as system,
        await system.client() as client,
    ):
        await system.sim("PUT", "speed", {"tokens_per_second": 0, "first_token_ms": 0, "latency_ms": 800})
        sent = [
            asyncio.create_task(client.embed(part, user=f"u{at}", timeout_s=60))
            for at, part in enumerate(parts)
        ]

        async def are_called() -> bool:
            models = (await system.sim("GET", "counts"))["models"]
            return bool(models.get(MODEL, {}).get("in_flight", 0) >= 2)

        await until(are_called)
        system.nats.kill()
        await asyncio.sleep(away_s)
        await system.nats.start()
        found = await asyncio.gather(*sent)
        for embeddings, part in zip(found, parts, strict=True):
            assert [vector.tolist() for vector in embeddings.vectors] == [vector_of(text) for text in part]
        assert await stored_ends(client, {each.id for each in found}) == {1: REQUESTS}
        counts = (await system.sim("GET", "counts"))["models"][MODEL]
        distinct = REQUESTS * OWN + SHARED
        assert distinct <= counts["texts"] <= distinct + CALLS * INPUTS, "only calls in flight are repeated"
        usage = [event for event in await stored_events(system, UsageRecorded) if event.kind == "embed"]
        assert sum(event.input_tokens for event in usage) == pytest.approx(counts["prompt_tokens"], rel=0.1)
