"""What a text costs that is embedded through Penstock: requests of 256 new texts, with a provider without latency."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.client.client import Client
from tests.bench.cpu import cpu_s
from tests.bench.targets import Target
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, running_system

__all__ = ["embedding_figures", "embedding_targets"]

TEXTS = 256
"""In each request."""
REQUESTS = 100
AT_ONCE = 4
DIMENSIONS = 256
MODEL = "m-embed"
OURS = ("client", "router", "worker")


async def embedding_figures(directory: Path, env: Mapping[str, str]) -> dict[str, Any]:
    config = catalogue(
        {"embed": [MODEL]},
        models={MODEL: {"embedding": {"dimensions": DIMENSIONS}}},
        roles={"embed": {"slots_per_worker": 64}},
    )
    async with running_system(directory, "embed", config=config, env=env, fresh=True) as system:
        client = await system.client()
        try:
            await _embed(client, "warm", 8)
            return await _figures(system, client)
        finally:
            await client.close()


async def _figures(system: System, client: Client) -> dict[str, Any]:
    before = cpu_s(system)
    await _embed(client, "new", REQUESTS)
    new = _us_per_text(before, cpu_s(system))
    before = cpu_s(system)
    await _embed(client, "new", REQUESTS)
    known = _us_per_text(before, cpu_s(system))
    return {
        "embed_us_per_text": round(sum(new[name] for name in OURS), 2),
        "embed_us_per_text_by_process": new,
        "embed_us_per_known_text": round(sum(known[name] for name in OURS), 2),
    }


def embedding_targets(report: dict[str, Any]) -> list[Target]:
    return [Target("embeddings: CPU us per text in batches of 256", report["embed_us_per_text"], 30.0)]


async def _embed(client: Client, name: str, requests: int) -> None:
    async def some(numbers: range) -> None:
        for number in numbers:
            texts = [_text(name, number, at) for at in range(TEXTS)]
            found = await client.embed(texts)
            assert found.count == TEXTS
            assert len(found.data) == TEXTS * DIMENSIONS * 4

    await asyncio.gather(*(some(range(first, requests, AT_ONCE)) for first in range(AT_ONCE)))


def _text(name: str, request: int, at: int) -> str:
    return (
        f"{name} paragraph {at} of document {request}: pumps lift the water from the river to the upper lake"
    )


def _us_per_text(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: round((after[name] - before[name]) * 1e6 / (REQUESTS * TEXTS), 2) for name in before}
