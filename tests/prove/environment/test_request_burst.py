"""C6: beside 20,000 requests of one account in a second, or 25,000 jobs, those of other accounts are hardly slower."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from penstock.client.client import Client
from penstock.contract.names import Lane
from tests.bench.load import percentile
from tests.harness.nats.intake import accounts_apart
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import running_system
from tests.harness.requests.replies import RawPublisher, ask
from tests.harness.requests.request_burst import publish_burst, waiting_requests
from tests.harness.suite.proofs import report_figures

FLOOD, *OTHERS = accounts_apart(6)
EVERY_S = 0.15
IDLE_S, BESIDE_S = 6.0, 15.0
PROVIDER_MS = 80

pytestmark = [pytest.mark.prove, pytest.mark.timeout(240)]


class Others:
    """One request after the other of each account, EVERY_S apart."""

    def __init__(self, clients: list[Client]) -> None:
        self._clients = clients
        self.outcomes: Counter[str] = Counter()

    async def latencies_ms(self, seconds: float) -> list[float]:
        found: list[float] = []
        async with asyncio.TaskGroup() as group:
            for _ in range(int(seconds / EVERY_S)):
                for client in self._clients:
                    group.create_task(self._ask(client, found))
                    await asyncio.sleep(EVERY_S / len(self._clients))
        return found

    async def _ask(self, client: Client, found: list[float]) -> None:
        received = await ask(client, "And me?", role="chat", stream=False, timeout_s=60)
        self.outcomes[received.code or "completed"] += 1
        found.append(received.took_s * 1000)


@pytest.mark.parametrize(("lane", "count"), [("interactive", 20_000), ("batch", 25_000)])
async def test_c6_a_burst_of_one_account_delays_no_other(tmp_path, lane: Lane, count: int) -> None:
    env = {"PENSTOCK_TRACES": "off", "PENSTOCK_LOG_LEVEL": "error"}
    async with AsyncExitStack() as stack:
        system = await stack.enter_async_context(
            running_system(tmp_path, "chat", config=catalogue(), env=env, fresh=True)
        )
        await system.sim(
            "PUT", "speed", {"latency_ms": 0, "first_token_ms": PROVIDER_MS, "tokens_per_second": 0}
        )
        others = Others(
            [await stack.enter_async_context(await system.client(account=name)) for name in OTHERS]
        )
        await others.latencies_ms(1.0)
        idle = await others.latencies_ms(IDLE_S)
        async for publisher in RawPublisher.opened(system):
            took_s = await publish_burst(publisher.nc, FLOOD, count, lane=lane)
            stored, began_s = await waiting_requests(publisher.nc), time.monotonic()
            beside = await others.latencies_ms(BESIDE_S)
            left = await waiting_requests(publisher.nc)
            per_s = (stored - left) / (time.monotonic() - began_s)
    idle_ms, beside_ms = percentile(idle, 0.95), percentile(beside, 0.95)
    report_figures(
        f"C6, {lane} burst: p50 / p95 of five other accounts {percentile(idle, 0.5):.0f} / {idle_ms:.0f} ms alone, "
        f"{percentile(beside, 0.5):.0f} / {beside_ms:.0f} ms (max {max(beside):.0f}) beside {count} requests published"
        f" in {took_s:.1f} s, of which {stored} waited and {per_s:.0f} a second were routed"
    )
    assert others.outcomes.keys() == {"completed"}
    assert beside_ms < 2 * idle_ms + 100
