"""C4: one 429 with a Retry-After of 120 seconds pauses that model in all workers, and no other model."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from penstock.client.client import Client
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, running_system
from tests.harness.requests.replies import ReceivedReply, ask
from tests.harness.suite.proofs import report_figures

PAUSE_S = 120.0
ROLES = {"m-limited": ("chat", "coding"), "m-free": ("logic", "creative")}
"""Two roles per model, each role with a worker process of its own; `m-free` has no configured limit."""
WAITING = 6
"""Requests per role, all of which find the model paused."""


@pytest.mark.prove
@pytest.mark.timeout(240)
async def test_c4_one_429_pauses_its_model_in_all_workers(tmp_path: Path):
    config = catalogue(
        {role: [model] for model, roles in ROLES.items() for role in roles},
        models={"m-limited": {"limits": {"requests_per_minute": 600, "tokens_per_minute": 100_000}}},
        role={"timeouts": {"total_s": 200}},
    )
    workers = [role for roles in ROLES.values() for role in roles]
    async with (
        running_system(tmp_path, *workers, "fast", config=config) as system,
        await system.client() as client,
    ):
        for role in (*workers, "fast"):
            assert (await ask(client, "Is a worker there?", role=role)).code is None
        began_s, first = await _receive_429(system, client)
        before = {model: await system.attempts(model) for model in ROLES}
        asked = [
            asyncio.create_task(ask(client, f"{role} {number}", role=role, timeout_s=190))
            for role in workers
            for number in range(WAITING)
        ]
        system.workers += [system.new_worker(role) for role in ("chat", "logic")]
        await asyncio.gather(*(worker.start() for worker in system.workers[-2:]))
        others = 0
        while time.monotonic() < began_s + PAUSE_S - 1:
            assert {model: await system.attempts(model) for model in ROLES} == before, "a request was sent"
            assert (await ask(client, "Another model?", role="fast")).code is None
            others += 1
            await asyncio.sleep(1.0)
        assert not any(task.done() for task in (*asked, *first))
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + 15):
            received: list[ReceivedReply] = await asyncio.gather(*asked, *first)
        resumed_s = time.monotonic() - began_s
        counts = (await system.sim("GET", "counts"))["models"]
    report_figures(
        f"silent for {PAUSE_S:g} s; all {len(received)} answered {resumed_s:.1f} s after the 429; {others} others"
    )
    assert [each.code for each in received] == [None] * len(received)
    assert resumed_s >= PAUSE_S - 0.5
    assert others >= 50
    assert all(counts[model]["errors"] == {"429": 1} for model in ROLES)


async def _receive_429(system: System, client: Client) -> tuple[float, list[asyncio.Task[ReceivedReply]]]:
    """One request of each model receives the 429; from then on the provider would admit everything."""
    await system.sim("PUT", "behaviour", dict.fromkeys(ROLES, f"429={PAUSE_S:g}"))
    before = {model: await system.attempts(model) for model in ROLES}
    began_s = time.monotonic()
    first = [
        asyncio.create_task(ask(client, "The first", role=roles[0], timeout_s=190))
        for roles in ROLES.values()
    ]
    async with asyncio.timeout(10):
        while any([await system.attempts(model) == before[model] for model in ROLES]):
            await asyncio.sleep(0.01)
    await system.sim("PUT", "behaviour", dict.fromkeys(ROLES, ""))
    return began_s, first
