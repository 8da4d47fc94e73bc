"""K4: four workers of one role do close to four times the work of one, against a provider that takes 600 ms.

Each worker has six slots, so that one answers at most 10 requests a second and four 40: the limit is the provider's
latency and the number of slots, as with a real provider, and not the CPU of the test machine, even beside other load.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from penstock.contract.streams import mailbox
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import running_system
from tests.harness.requests.load import Load
from tests.harness.suite.proofs import report_figures

LATENCY_MS = 600
SLOTS = 6
WORKERS = 4
MEASURED_S = 12.0
WARM_UP = 50


@pytest.mark.prove
@pytest.mark.timeout(120)
async def test_k4_four_workers_do_the_work_of_four(tmp_path: Path):
    config = catalogue(roles={"chat": {"slots_per_worker": SLOTS}})
    async with running_system(tmp_path, "chat", config=config) as system, await system.client() as client:
        await system.sim("PUT", "speed", {"latency_ms": LATENCY_MS})
        rates = [await answers_per_s(client, workers=1)]
        for _ in range(WORKERS - 1):
            system.workers.append(system.new_worker("chat"))
            await system.workers[-1].start()
        rates.append(await answers_per_s(client, workers=WORKERS))
        counts = (await system.sim("GET", "counts"))["models"]["m-chat"]
    one, four = rates
    report_figures(
        f"K4: {one:.1f} answers/s with 1 worker, {four:.1f} with {WORKERS}: {four / one:.2f} times; "
        f"{SLOTS} slots each, provider {LATENCY_MS} ms; at most {counts['max_in_flight']} calls at once"
    )
    assert one <= SLOTS * 1000 / LATENCY_MS
    long_polls = len(mailbox("chat", "interactive")) - 1
    assert counts["max_in_flight"] <= (SLOTS + long_polls) * WORKERS, "more than a mailbox may hold"
    assert four >= 3.6 * one


async def answers_per_s(client, workers: int) -> float:
    """Steady-state throughput with twice as many concurrent requests as slots."""
    load = Load(client, at_once=2 * SLOTS * workers)
    async with load.running():
        await load.more(WARM_UP)
        began_s, before = time.monotonic(), len(load.received)
        while time.monotonic() < began_s + MEASURED_S:
            await load.more(1)
        rate = (len(load.received) - before) / (time.monotonic() - began_s)
    assert load.outcomes == {"completed": len(load.received)}
    return rate
