"""D7: a cluster of three NATS nodes: reads from any node, concurrent publishing of one id, replicas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import nats
import nats.errors
import pytest
from nats.aio.client import Client as Nats
from nats.js.errors import APIError

from penstock.bus.connection import connect
from penstock.bus.ids import new_id
from penstock.bus.large_bodies import BodyUpload, delete_body, read_body, reference_to
from penstock.bus.publish import store, store_or_refuse
from penstock.bus.server_address import servers_of
from penstock.bus.stored_replies import acknowledged_replies, stored_replies
from penstock.contract import subjects
from penstock.contract.codec import encode
from penstock.contract.reply import Started
from penstock.contract.streams import BUCKETS, REPLIES, REQUESTS, STREAMS, mailbox
from penstock.contract.subjects import ReplyAddress
from penstock.runtime.provisioning import ensure as provisioning
from penstock.runtime.provisioning.ensure import JetStreamPlan
from tests.harness.nats.cluster import NatsCluster
from tests.harness.processes.freezing import frozen
from tests.harness.suite.proofs import report_figures
from tests.harness.suite.waiting import until

ROLES = ("chat",)
ROUNDS = 150


@pytest.fixture
async def connections(cluster: NatsCluster) -> AsyncIterator[list[Nats]]:
    """One connection to each node."""
    opened = [await nats.connect(node.url) for node in cluster.nodes.values()]
    yield opened
    for nc in opened:
        await nc.close()


async def provisioned(nc: Nats, replicas: int) -> None:
    async with asyncio.timeout(30):
        await provisioning.ensure_eventually(
            nc.jetstream(), JetStreamPlan(roles=ROLES, ack_wait_s=2, replicas=replicas)
        )


async def test_d7_acknowledged_replies_include_every_event(
    connections: list[Nats],
):
    await provisioned(connections[0], 3)
    js = connections[0].jetstream()
    lagging = 0
    for number in range(ROUNDS):
        subject = subjects.reply("demo", "client-1", new_id())
        event = Started(id="x", seq=number, attempt=1, model="m", provider="p", worker="w", at_ms=0)
        await store(js, subject, encode(event), message_id=subject)
        replies = await asyncio.gather(*(acknowledged_replies(nc, subject) for nc in connections))
        assert replies == [[event]] * len(connections)
        other = subjects.reply("demo", "client-1", new_id())
        await store(js, other, encode(event), message_id=other)
        plain = await asyncio.gather(*(stored_replies(nc, other) for nc in connections))
        lagging += plain.count([])
    report_figures(f"{lagging} of {3 * ROUNDS} reads from any node lagged behind the acknowledgement")
    assert await acknowledged_replies(connections[1], subjects.reply("demo", "client-1", new_id())) == []


async def test_d7_a_large_body_is_read_whole_from_any_node_as_soon_as_it_is_stored(connections: list[Nats]):
    await provisioned(connections[0], 3)
    body = bytes(range(256)) * 8 * 1024
    ref = await reference_to(body)
    for _ in range(20):
        address = ReplyAddress("demo", "client-1", new_id())
        await BodyUpload(connections[0], address).store(body, timeout_s=10)
        assert await asyncio.gather(*(read_body(nc, address, ref) for nc in connections)) == [body] * 3
        await delete_body(connections[1], address)


async def test_d7_one_id_published_by_several_at_once_is_one_message(connections: list[Nats]):
    await provisioned(connections[0], 3)
    for _ in range(40):
        subject = subjects.reply("demo", "client-1", new_id())
        stored = await asyncio.gather(
            *(store(nc.jetstream(), subject, b"end", message_id=f"{subject}.end") for nc in connections)
        )
        assert sorted(stored) == [False, False, True]


async def test_d7_provisioning_again_changes_the_replicas(cluster: NatsCluster):
    nc = await nats.connect(servers_of(cluster.url))
    js = nc.jetstream()
    await provisioned(nc, 1)
    await js.publish(REPLIES.subjects[0].replace("*", "x"), b"stored")
    await provisioned(nc, 3)
    for name in (*(stream.name for stream in STREAMS), *(f"KV_{bucket.name}" for bucket in BUCKETS)):
        info = await js.stream_info(name)
        assert info.config.num_replicas == 3, name

    async def has_followers() -> bool:
        """During an election the server does not name the replicas."""
        consumer = mailbox(ROLES[0], "interactive")[0]
        cluster = (await js.consumer_info(consumer.stream, consumer.durable)).cluster
        return cluster is not None and len(cluster.replicas or ()) >= 2

    async with asyncio.timeout(20):
        while not await has_followers():
            await asyncio.sleep(0.1)
    assert (await js.stream_info(REPLIES.name)).state.messages == 1
    await nc.close()


async def test_d7_a_request_is_not_refused_while_its_stream_has_no_leader(cluster, connections):
    """A node that knows of no leader answers about the stream in its place; one node is away, the leader frozen."""
    await provisioned(connections[0], replicas=3)
    leader = await cluster.leads(connections[0], REQUESTS.name)
    away, asked = (name for name in cluster.nodes if name != leader)
    nc = await connect(cluster.nodes[asked].url, name="asked")
    cluster.nodes[away].kill()
    with frozen([cluster.nodes[leader].pid]):
        await until(lambda: is_led_by_none(nc), 20)
        subject = subjects.request("demo", "chat")
        storing = asyncio.create_task(
            store_or_refuse(nc.jetstream(), subject, b"{}", message_id=new_id(), timeout_s=30)
        )
        await asyncio.wait({storing}, timeout=3)  # a stream that cannot be written is known within 2 s
    assert (await storing).new
    await nc.close()


async def is_led_by_none(nc: Nats) -> bool:
    try:
        info = await nc.jetstream().stream_info(REQUESTS.name)
    except (APIError, nats.errors.TimeoutError):
        return False
    return info.cluster is not None and info.cluster.leader is None
