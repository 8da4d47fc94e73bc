"""C6, C3: a flood with long deadlines beside later requests with short ones, in the real system."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import running_system
from tests.harness.requests.replies import ask
from tests.harness.suite.proofs import report_figures

FLOOD, NEWCOMERS = 300, 10

pytestmark = pytest.mark.timeout(120)


async def test_c6_a_flood_with_long_deadlines_does_not_block_short_ones(
    tmp_path: Path,
) -> None:
    config = catalogue(roles={"coding": {"slots_per_worker": 4}})
    async with (
        running_system(tmp_path, "coding", config=config, env={"PENSTOCK_TRACES": "off"}) as system,
        await system.client() as flooding,
        await system.client() as client,
    ):
        await system.sim("PUT", "speed", {"latency_ms": 300, "first_token_ms": 0, "tokens_per_second": 0})
        for number in range(5):
            assert (await ask(client, "first", role="coding", user=f"first{number}")).code is None
        flood = [
            asyncio.create_task(ask(flooding, "much", role="coding", user="ada", timeout_s=60))
            for _ in range(FLOOD)
        ]
        await asyncio.sleep(2.5)  # admission uses counts up to one second old and heartbeats up to two
        newcomers = [
            await ask(client, "little", role="coding", user=f"new{number}", timeout_s=3)
            for number in range(NEWCOMERS)
        ]
        left = sum(not each.done() for each in flood)
        await system.sim("PUT", "speed", {"latency_ms": 50, "first_token_ms": 0, "tokens_per_second": 0})
        flooded = [each.code for each in await asyncio.gather(*flood)]
    answered = [each.took_s for each in newcomers if each.code is None]
    report_figures(
        f"C6, admission: {len(answered)} of {NEWCOMERS} answered, at most in {max(answered, default=0):.2f} s; "
        f"{left} of the flood waited then; {flooded.count(None)} of it answered"
    )
    assert left > FLOOD / 4, "the flood was queued all the time"
    assert len(answered) >= NEWCOMERS - 1, [each.events[-1] for each in newcomers]
    assert set(flooded) <= {None, "overloaded"}, "every admitted request completed in time"
    assert flooded.count(None) > FLOOD * 3 / 4
