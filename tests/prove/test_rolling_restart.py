"""D9: every service is replaced under load, one process after another; for clients only latency changes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.harness.processes.process import Process
from tests.harness.processes.system import System, running_system
from tests.harness.records.attempt_audit import AttemptAudit, audit_attempts
from tests.harness.requests.load import Load, stored_ends
from tests.harness.suite.proofs import report_figures

ROUNDS = 3
SPEED = {"tokens_per_second": 60, "first_token_ms": 20, "latency_ms": 0}

pytestmark = [pytest.mark.prove, pytest.mark.timeout(280)]


async def replaced(old: Process, new: Process) -> Process:
    """Stop the old process, then start the new one."""
    assert await old.terminate() == 0
    await new.start()
    return new


async def assert_unnoticed(system: System, client, load: Load) -> AttemptAudit:
    assert load.outcomes == {"completed": len(load.received)}
    assert not any(each.restarts for each in load.received), "drained work was executed again"
    assert {each.completed.attempt for each in load.received} == {1}
    assert await stored_ends(client, load.ids) == {1: len(load.received)}
    audit = await audit_attempts(system, load.ids)
    audit.check()
    assert audit.made.total() == len(load.received), "a request was executed twice"
    return audit


async def test_d9_two_of_each_service_are_replaced_without_an_error(tmp_path: Path):
    roles = ("chat", "coding")
    async with (
        running_system(tmp_path, "chat", "chat", "coding", "coding") as system,
        await system.client() as client,
    ):
        await system.sim("PUT", "speed", SPEED)
        routers = [system.router, system.new_router()]
        await routers[1].start()
        system.workers.append(routers[1])  # so that it is stopped with the rest
        load = Load(client, roles, at_once=16)
        async with load.running():
            await load.more(16)
            for _ in range(ROUNDS):
                for place in range(2):
                    routers[place] = await replaced(routers[place], system.new_router())
                    system.workers.append(routers[place])
                for place, role in enumerate(("chat", "chat", "coding", "coding")):
                    system.workers[place] = await replaced(system.workers[place], system.new_worker(role))
            await load.more(16)
        audit = await assert_unnoticed(system, client, load)
        report_figures(
            f"D9, two of each: {len(load.received)} requests, {6 * ROUNDS} processes replaced; {audit}"
        )
        report_figures(f"longest gap {load.longest_gap_s():.2f} s, slowest request {slowest_s(load):.2f} s")


async def test_d9_requests_wait_while_the_only_process_is_replaced(tmp_path: Path):
    async with running_system(tmp_path, "chat") as system, await system.client() as client:
        await system.sim("PUT", "speed", SPEED)
        load = Load(client, at_once=12)
        async with load.running():
            await load.more(12)
            for _ in range(ROUNDS):
                system.router = await replaced(system.router, system.new_router())
                await load.more(12)
                system.workers[0] = await replaced(system.workers[0], system.new_worker("chat"))
                await load.more(12)
                began_s = time.monotonic()
                codes = await asyncio.gather(system.workers[0].terminate(), system.router.terminate())
                assert codes == [0, 0]
                system.router, system.workers[0] = system.new_router(), system.new_worker("chat")
                await asyncio.gather(system.router.start(), system.workers[0].start())
                away_s = time.monotonic() - began_s
                await load.more(12)
        audit = await assert_unnoticed(system, client, load)
        report_figures(
            f"D9, one of each: {len(load.received)} requests, {4 * ROUNDS} processes replaced; {audit}"
        )
        report_figures(
            f"longest gap {load.longest_gap_s():.2f} s, of which both were being replaced {away_s:.2f} s"
        )


def slowest_s(load: Load) -> float:
    return max(each.took_s for each in load.received)
