"""C3: a router that was cut off from NATS does not conclude that the workers are dead."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.harness.nats.partition import Partition
from tests.harness.processes.system import running_system
from tests.harness.requests.replies import ask
from tests.harness.suite.waiting import until

ALIVE_S = 20.0
"""Seconds after its last heartbeat that a worker counts as alive."""


@pytest.mark.prove  # takes longer than ALIVE_S
async def test_c3_a_router_cut_off_from_nats_rejects_no_served_role(
    tmp_path: Path,
) -> None:
    async with (
        running_system(tmp_path, "chat", "coding") as system,
        Partition.before(system.nats.url) as partition,
        await system.client() as client,
    ):
        system.router.kill()
        system.router = system._process("services.router", NATS_URL=partition.url)
        await system.router.start()
        assert (await ask(client, "before", role="chat")).code is None
        assert (await ask(client, "before", role="coding")).code is None
        system.workers[1].kill()
        partition.sever()
        await asyncio.sleep(ALIVE_S + 2)
        asking = [asyncio.create_task(ask(client, f"{n}", role="chat", timeout_s=20)) for n in range(20)]
        await asyncio.sleep(0.2)  # they are stored; the router receives all of them together
        partition.heal()

        received = await asyncio.gather(*asking)

        async def dead_role_is_refused() -> bool:
            return (await ask(client, "x", role="coding", timeout_s=1)).code == "role_not_served"

        assert {each.code for each in received} == {None}
        await until(dead_role_is_refused)
