"""C3: several routers, each of which sees the others' admissions with the next count, keep the admission promise."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from penstock.client.client import Client
from penstock.contract.reply import Accepted, Completed, Failed
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, running_system
from tests.harness.suite.proofs import report_figures

SENT_S = 30.0
BURST_S = 5.0
PATIENCE_S = 6.0
PER_S = 24.0
"""Requests per second: three times the capacity of two workers with 8 slots and two seconds per answer."""

pytestmark = [pytest.mark.prove, pytest.mark.timeout(120)]


async def _send(client: Client, user: str, ends: Counter[str]) -> None:
    accepted = False
    async for event in client.stream(
        "question [[tokens=40]]", role="chat", max_tokens=60, user=user, timeout_s=PATIENCE_S
    ):
        if isinstance(event, Accepted):
            accepted = True
        elif isinstance(event, Completed):
            ends["completed"] += 1
        elif isinstance(event, Failed):
            ends["late" if accepted else event.error.code] += 1


async def _bursts(client: Client, lasts_s: float) -> Counter[str]:
    """Send the requests of five seconds within half a second."""
    rng, ends, sent = random.Random(3), Counter(), set()
    began_s = time.monotonic()
    for burst in range(int(lasts_s / BURST_S)):
        for number in range(int(PER_S * BURST_S)):
            due_s = began_s + burst * BURST_S + number / (PER_S * BURST_S) * 0.5
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            sent.add(asyncio.create_task(_send(client, f"u{rng.randrange(40)}", ends)))
    await asyncio.gather(*sent)
    return ends


async def _with_routers(directory: Path, count: int) -> Counter[str]:
    config = catalogue({"chat": ["m-chat"]}, role={"slots_per_worker": 8})
    async with running_system(
        directory, "chat", "chat", config=config, env={"PENSTOCK_TRACES": "off"}
    ) as system:
        others = [system.new_router() for _ in range(count - 1)]
        try:
            await asyncio.gather(*(router.start() for router in others))
            async with await system.client() as client:
                return await _measured(system, client)
        finally:
            for router in others:
                router.kill()


async def _measured(system: System, client: Client) -> Counter[str]:
    await system.sim("PUT", "speed", {"tokens_per_second": 20, "first_token_ms": 0, "latency_ms": 0})
    await _bursts(client, BURST_S)  # a role without measured service times rejects nothing
    return await _bursts(client, SENT_S)


async def test_c3_three_routers_admit_as_many_as_one(tmp_path: Path) -> None:
    one = await _with_routers(_made(tmp_path / "one"), 1)
    three = await _with_routers(_made(tmp_path / "three"), 3)

    report_figures(f"C3, one router: {dict(one)}; three: {dict(three)}")
    accepted = {"one": one["completed"] + one["late"], "three": three["completed"] + three["late"]}
    assert sum(one.values()) == sum(three.values()) == int(SENT_S * PER_S)
    assert three["late"] <= 0.01 * accepted["three"] + one["late"]
    assert accepted["three"] >= 0.95 * accepted["one"]


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory
