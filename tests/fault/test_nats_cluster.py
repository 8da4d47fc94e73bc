"""D7, E2: one node of a NATS cluster is killed under load, the one to which the client is connected and which leads."""

from __future__ import annotations

from pathlib import Path

from penstock.contract.streams import REPLIES
from tests.harness.asking import Heard
from tests.harness.books import books
from tests.harness.load import Load, stored_ends
from tests.harness.nats_cluster import NatsCluster
from tests.harness.system import running

GAP_S = 10.0


async def test_a_node_of_three_is_killed_and_service_resumes_by_itself_d7_e2(tmp_path: Path):
    async with running(tmp_path, "chat", nodes=3) as system:
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
                for heard in load.heard[::10]:
                    events = [event async for event in other.resume(heard.id, client=client.name)]
                    assert Heard(heard.id, events, 0.0).text == heard.text
            account = await books(system, load.ids)
            assert await stored_ends(client, load.ids) == {1: len(load.heard)}
        assert load.outcomes == {"completed": len(load.heard)}
        account.check()
        assert load.longest_gap_s() < GAP_S
