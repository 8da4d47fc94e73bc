"""D7: a cluster of three NATS nodes repeatedly loses a random node to kill -9 under load; service resumes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from penstock.contract.streams import REPLIES, REQUESTS, WORK
from tests.harness.nats.cluster import NatsCluster
from tests.harness.processes.system import running_system
from tests.harness.records.attempt_audit import audit_attempts
from tests.harness.requests.load import Load, stored_ends
from tests.harness.suite.proofs import report_figures

GAP_S = 10.0
"""NATS elects the leader of a stream or consumer 4 to 9 s after the last sign of the old one (`raft.go`)."""
BETWEEN_S = 4.0


@pytest.mark.prove
@pytest.mark.timeout(280)
async def test_d7_nodes_killed_one_after_another_lose_no_request(tmp_path: Path):
    async with (
        running_system(tmp_path, "chat,coding", "all", nodes=3) as system,
        await system.client() as client,
    ):
        await system.sim("PUT", "speed", {"tokens_per_second": 200, "first_token_ms": 20})
        cluster: NatsCluster = system.nats
        load = Load(client, ("chat", "coding", "fast"))
        gaps: list[str] = []
        async with load.running():
            await load.more(100)
            for why in (WORK.name, "client", REPLIES.name, REQUESTS.name, "client", WORK.name):
                if why == "client":
                    victim = cluster.holding(client._nc)
                else:
                    victim = await cluster.leads(client._nc, why)
                killed_s = time.monotonic()
                cluster.nodes[victim].kill()
                await load.more(50)
                await asyncio.sleep(BETWEEN_S)
                gaps.append(f"{victim} ({why}) {load.longest_gap_s(killed_s):.1f} s")
                await cluster.nodes[victim].start(30)
                await load.more(50)
        audit = await audit_attempts(system, load.ids)
        ends = await stored_ends(client, load.ids)
        report_figures(
            f"D7, cluster: {len(load.received)} requests {dict(load.outcomes)}, ends {dict(ends)}; {audit}"
        )
        report_figures(f"longest gap {load.longest_gap_s():.1f} s; after each kill: {', '.join(gaps)}")
        assert ends == {1: len(load.received)}
        assert [each.failed.error for each in load.received if each.code] == []
        audit.check()
        assert load.longest_gap_s() < GAP_S
