"""D7, E2: one node of a NATS cluster is killed under load, the one to which the client is connected and which leads."""

from __future__ import annotations

from pathlib import Path

from penstock.contract.streams import REPLIES
from tests.harness.nats.cluster import NatsCluster
from tests.harness.processes.system import running_system
from tests.harness.records.attempt_audit import audit_attempts
from tests.harness.requests.load import Load, stored_ends
from tests.harness.requests.replies import ReceivedReply

GAP_S = 10.0


async def test_d7_e2_service_resumes_after_a_node_of_three_was_killed(tmp_path: Path):
    async with running_system(tmp_path, "chat", nodes=3) as system:
        cluster: NatsCluster = system.nats
        async with await system.client() as client:
            await system.sim("PUT", "speed", {"tokens_per_second": 200, "first_token_ms": 20})
            victim = await cluster.leads(client._nc, REPLIES.name)
            load = Load(client)
            async with load.running():
                await load.more(50)
                cluster.nodes[victim].kill()
                await load.more(200)
            async with await system.client() as other:
                for received in load.received[::10]:
                    events = [event async for event in other.resume(received.id, client=client.name)]
                    assert ReceivedReply(received.id, events, 0.0).text == received.text
            audit = await audit_attempts(system, load.ids)
            assert await stored_ends(client, load.ids) == {1: len(load.received)}
        assert load.outcomes == {"completed": len(load.received)}
        audit.check()
        assert load.longest_gap_s() < GAP_S
