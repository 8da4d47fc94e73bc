"""D7, F2: random processes are killed repeatedly under load; every accepted request ends exactly once, and every
call that the provider received is recorded once.

The counts need not be equal: a worker may be killed between announcing an attempt and sending it, and only the provider
knows whether it was sent. Such an attempt is recorded with the outcome `worker_lost` and estimated usage. The proof
compares the attempts themselves, by request and number: each call is recorded once, and each attempt that is recorded
without a call belongs to a killed worker.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.harness.processes.process import Process
from tests.harness.processes.system import System, running_system
from tests.harness.records.attempt_audit import audit_attempts
from tests.harness.requests.load import Load, stored_ends
from tests.harness.suite.proofs import report_figures

REQUESTS = 5000
AT_ONCE = 32
KILL_EVERY_S = 2.0
ROLES = ("chat", "coding", "fast", "logic")
WORKERS = ("chat,coding", "all")
GAP_S = 10.0
"""Upper bound in seconds of the time without any answer: requests of a killed router are redelivered after 2 s."""
SERVER_AT = (REQUESTS // 3, 2 * REQUESTS // 3)
"""Number of answers after which nats-server is killed and started again."""


@pytest.mark.prove
@pytest.mark.timeout(280)
async def test_d7_f2_each_request_ends_once_while_processes_are_killed(tmp_path: Path):
    async with running_system(tmp_path, *WORKERS) as system, await system.client() as client:
        await system.sim("PUT", "speed", {"tokens_per_second": 150, "first_token_ms": 20, "latency_ms": 0})
        load = Load(client, ROLES, at_once=AT_ONCE)
        killer = asyncio.create_task(_kill(system, load, random.Random(7)))
        try:
            await load.run(REQUESTS)
        finally:
            killer.cancel()
        kills = (await asyncio.gather(killer, return_exceptions=True))[0]
        assert isinstance(kills, Counter), kills
        ends = await stored_ends(client, load.ids)
        audit = await audit_attempts(system, load.ids)
        report_figures(
            f"D7: {len(load.received)} requests: {dict(load.outcomes)}; ends per request: {dict(ends)}"
        )
        report_figures(f"{audit}; killed: {dict(kills)}; longest gap {load.longest_gap_s():.1f} s")
        assert kills["nats-server"] == len(SERVER_AT)
        assert min(kills["router"], kills["worker"]) >= 5
        assert ends == {1: REQUESTS}
        assert load.outcomes["completed"] >= REQUESTS * 0.99
        assert load.longest_gap_s() < GAP_S
        audit.check()


async def _kill(system: System, load: Load, dice: random.Random) -> Counter[str]:
    """Kill random processes until cancelled; each is started again before the next kill."""
    kills: Counter[str] = Counter()
    try:
        while True:
            await asyncio.sleep(KILL_EVERY_S)
            server_kills = kills["nats-server"]
            if server_kills < len(SERVER_AT) and len(load.received) >= SERVER_AT[server_kills]:
                kills["nats-server"] += 1
                system.nats.kill()
                await system.nats.start()
                continue
            victim = dice.choice(("router", "worker", "worker"))
            kills[victim] += 1
            if victim == "router":
                system.router = await _replaced(system.router, system.new_router())
            else:
                place = dice.randrange(len(WORKERS))
                new = system.new_worker(WORKERS[place])
                system.workers[place] = await _replaced(system.workers[place], new)
    except asyncio.CancelledError:
        return kills


async def _replaced(old: Process, new: Process) -> Process:
    old.kill()
    await new.start()
    return new
