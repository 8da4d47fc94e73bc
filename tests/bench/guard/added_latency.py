"""What guarding adds to the time to the first token: a guard that takes 300 ms beside a provider that takes 400 ms."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from statistics import quantiles
from typing import Any

from penstock.client.client import Client
from penstock.contract.reply import Delta
from tests.bench.targets import Target
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.fake_guard import FakeGuard
from tests.harness.processes.system import System, running_system

__all__ = ["GUARD", "added_first_token_ms", "guarded_latency_figures", "guarded_latency_targets"]

GUARD = {"accounts": {"unguarded": {"mode": "off"}}}
_GUARD_S = 0.3
_PROVIDER_MS = 400
_AT_ONCE = 4
"""Of each kind, together: what else the machine does delays both."""
_PROMPT = "Tell me of the river. [[tokens=20]]"


async def guarded_latency_figures(directory: Path) -> dict[str, float]:
    async with running_system(directory, "chat", config=catalogue(guard=GUARD), fresh=True) as system:
        return {"guard_added_first_token_ms": await added_first_token_ms(system, 96)}


def guarded_latency_targets(report: dict[str, Any]) -> list[Target]:
    added_ms = report["guard_added_first_token_ms"]
    return [Target("guard: ms added to the first token, p95", added_ms, 20.0, added=True)]


async def added_first_token_ms(system: System, requests: int, percentile: int = 95) -> float:
    """The percentile with the guard, less that without it, of so many requests each."""
    await system.sim(
        "PUT", "speed", {"tokens_per_second": 0, "first_token_ms": _PROVIDER_MS, "latency_ms": 0}
    )
    async with (
        FakeGuard.running(system.nats.url) as guard,
        await system.client() as guarded,
        await system.client(account="unguarded") as unguarded,
    ):
        guard.takes_s = _GUARD_S
        await asyncio.gather(_first_token_ms(guarded), _first_token_ms(unguarded))
        plain, held = [], []
        for _ in range(requests // _AT_ONCE):
            both = await asyncio.gather(*map(_first_token_ms, (guarded, unguarded) * _AT_ONCE))
            held += both[::2]
            plain += both[1::2]
        assert len(guard.checks) == len(held) + 1
    await system.sim("PUT", "speed", {"tokens_per_second": 0, "first_token_ms": 0, "latency_ms": 0})
    return round(_percentile(held, percentile) - _percentile(plain, percentile), 3)


async def _first_token_ms(client: Client) -> float:
    began_s = time.perf_counter()
    first_ms = None
    async for event in client.stream(_PROMPT, role="chat"):
        if first_ms is None and isinstance(event, Delta):
            first_ms = (time.perf_counter() - began_s) * 1000
    assert first_ms is not None
    return first_ms


def _percentile(figures: list[float], percentile: int) -> float:
    return quantiles(figures, n=100)[percentile - 1]
