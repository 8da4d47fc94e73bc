"""H2, E4: workers are killed while two applications have the same texts embedded; each text is paid once, but for the
calls that a killed worker had in flight.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from penstock.client.client import Client
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, running_system
from tests.harness.requests.embed import vector_of
from tests.harness.suite.proofs import report_figures

MODEL = "m-embed"
ROUNDS = 12
TEXTS = 600
PART = 60
CALLS = 4
"""That one worker has in flight at most."""
BATCH = 64


def config() -> str:
    embedding = {"dimensions": 256, "max_inputs": BATCH}
    return catalogue(
        {"embed": (MODEL,)},
        models={MODEL: {"embedding": embedding}},
        roles={"embed": {"slots_per_worker": 64}},
    )


async def counts(system: System) -> dict[str, Any]:
    found: dict[str, Any] = (await system.sim("GET", "counts"))["models"].get(MODEL, {})
    return found


async def embed_all(client: Client, texts: list[str]) -> None:
    async def part(first: int) -> None:
        found = await client.embed(texts[first : first + PART], timeout_s=60)
        vectors = [vector.tolist() for vector in found.vectors]
        assert vectors == [vector_of(text) for text in texts[first : first + PART]]

    await asyncio.gather(*(part(first) for first in range(0, len(texts), PART)))


@pytest.mark.prove
@pytest.mark.timeout(280)
async def test_h2_e4_texts_are_paid_once_while_workers_are_killed(tmp_path: Path) -> None:
    chosen = random.Random(12)
    async with (
        running_system(tmp_path, "embed", "embed", config=config()) as system,
        await system.client() as one,
        await system.client() as other,
    ):
        await asyncio.sleep(2.5)  # a heartbeat of each worker
        await system.sim("PUT", "speed", {"tokens_per_second": 0, "first_token_ms": 0, "latency_ms": 120})
        kills = 0
        for number in range(ROUNDS):
            texts = [
                f"text {at} of round {number}: the river carries the water to the sea" for at in range(TEXTS)
            ]
            waiting = asyncio.gather(embed_all(one, texts), embed_all(other, texts))
            if number % 2:
                await asyncio.sleep(chosen.uniform(0.02, 0.4))
                at = chosen.randrange(2)
                system.workers[at].kill()
                kills += 1
                system.workers[at] = system.new_worker("embed")
                await system.workers[at].start()
            await waiting
        found = await counts(system)
    repeated, calls = found["repeated_texts"], found["attempts"]
    report_figures(
        f"{ROUNDS * TEXTS:,} texts wanted by two applications, {kills} kills: {found['texts']:,} embedded, "
        f"{repeated:,} again, {calls:,} calls"
    )
    assert found["texts"] - repeated == ROUNDS * TEXTS
    assert repeated <= kills * CALLS * BATCH
