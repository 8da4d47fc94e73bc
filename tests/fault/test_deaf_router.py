"""C3: a router that received nobody for a while does not take its own deafness for the workers' death."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.harness.partition import Partition
from tests.harness.replies import ask, until
from tests.harness.system import running_system

BELIEVED_S = 20.0
"""For so long a worker counts as alive that is not received."""


@pytest.mark.prove  # it has to be silent for longer than a worker is believed
async def test_c3_a_router_that_was_cut_off_refuses_nobody_whose_workers_live_and_a_dead_role_as_ever(
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
        await asyncio.sleep(BELIEVED_S + 2)
        asking = [asyncio.create_task(ask(client, f"{n}", role="chat", timeout_s=20)) for n in range(20)]
        await asyncio.sleep(0.2)  # they are stored; the router finds them all at once
        partition.heal()

        received = await asyncio.gather(*asking)

        async def dead_role_is_refused() -> bool:
            return (await ask(client, "x", role="coding", timeout_s=1)).code == "role_not_served"

        assert {each.code for each in received} == {None}
        await until(dead_role_is_refused)
