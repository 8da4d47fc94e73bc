"""C6: the flood of one user delays no other user, and batch work delays no interactive work; both complete."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from penstock.client.client import Client
from tests.bench.load import percentile
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.replies import ask
from tests.harness.suite.proofs import report_figures

ROLE = "chat"
PROVIDER_MS = 200
SLOTS = 16
FLOOD = 1_500
SEQUENTIAL_REQUESTS = 40
BATCH = 400
BATCH_SLOTS = 4
RATE_PER_S = 15
"""Interactive requests per second beside the batch work: a fifth of the throughput of all slots."""
ROUND_S = 12.0
ROUNDS = 2

pytestmark = [pytest.mark.prove, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    role = {"slots_per_worker": SLOTS, "batch_slots_per_worker": BATCH_SLOTS}
    with shared_system(
        tmp_path_factory.mktemp("fairness"),
        ROLE,
        config=catalogue(roles={ROLE: role}),
        env={"PENSTOCK_TRACES": "off"},
    ) as running:
        yield running


async def one(client: Client, user: str, lane: str = "interactive") -> float:
    """Latency of one request in milliseconds."""
    received = await ask(
        client, "How deep is it?", role=ROLE, user=user, lane=lane, timeout_s=100, stream=False
    )
    assert received.code is None, received.failed
    return received.took_s * 1000


async def one_after_another(client: Client, count: int) -> list[float]:
    return [await one(client, "sequential") for _ in range(count)]


async def test_c6_a_flood_of_one_user_does_not_delay_another(system: System) -> None:
    await system.sim("PUT", "speed", {"latency_ms": PROVIDER_MS, "first_token_ms": 0, "tokens_per_second": 0})
    async with await system.client() as flooding, await system.client() as sequential:
        await one_after_another(sequential, 5)
        idle = await one_after_another(sequential, SEQUENTIAL_REQUESTS)
        began_s = time.monotonic()
        flood = [asyncio.create_task(one(flooding, "flood")) for _ in range(FLOOD)]
        await asyncio.sleep(2)
        beside = await one_after_another(sequential, SEQUENTIAL_REQUESTS)
        left = sum(not task.done() for task in flood)
        flooded = await asyncio.gather(*flood)
        took_s = time.monotonic() - began_s
    report_figures(
        f"C6, users: p50 {percentile(idle, 0.5):.0f} / {percentile(beside, 0.5):.0f} ms, p95 "
        f"{percentile(idle, 0.95):.0f} ms alone, {percentile(beside, 0.95):.0f} ms beside a flood of {FLOOD} "
        f"(worst {max(beside):.0f} ms), {left} of it still waiting then; it was answered in {took_s:.1f} s, "
        f"{took_s * SLOTS / FLOOD * 1000:.0f} ms a slot"
    )
    assert left > FLOOD / 4, "the flood was queued all the time"
    assert percentile(beside, 0.95) <= 2 * percentile(idle, 0.95)
    assert len(flooded) == FLOOD


async def at_a_rate(client: Client) -> list[float]:
    """Send interactive requests of several users at a constant rate, independent of earlier ones."""
    began_s = time.monotonic()
    asked: list[asyncio.Task[float]] = []
    for number in range(int(RATE_PER_S * ROUND_S)):
        await asyncio.sleep(began_s + number / RATE_PER_S - time.monotonic())
        asked.append(asyncio.create_task(one(client, f"user-{number % 5}")))
    return await asyncio.gather(*asked)


async def test_c6_batch_work_does_not_delay_interactive_work(system: System) -> None:
    await system.sim("PUT", "speed", {"latency_ms": PROVIDER_MS, "first_token_ms": 0, "tokens_per_second": 0})
    async with await system.client() as batching, await system.client() as client:
        await one_after_another(client, 5)
        alone: list[float] = []
        beside: list[float] = []
        left = []
        for _ in range(ROUNDS):
            alone += await at_a_rate(client)
            began_s = time.monotonic()
            batch = [asyncio.create_task(one(batching, "batch", "batch")) for _ in range(BATCH)]
            await asyncio.sleep(1)
            beside += await at_a_rate(client)
            left.append(sum(not task.done() for task in batch))
            await asyncio.gather(*batch)
            took_s = time.monotonic() - began_s
    p95_alone, p95_beside = percentile(alone, 0.95), percentile(beside, 0.95)
    report_figures(
        f"C6, lanes: p50 {percentile(alone, 0.5):.0f} / {percentile(beside, 0.5):.0f} ms, p95 {p95_alone:.0f} ms "
        f"alone, {p95_beside:.0f} ms beside {BATCH} batch requests ({p95_beside / p95_alone - 1:+.1%}), of which "
        f"{left} still waited at the end; they were answered in {took_s:.1f} s"
    )
    assert min(left) > 0, "batch work was queued all the time"
    assert p95_beside <= 1.10 * p95_alone
