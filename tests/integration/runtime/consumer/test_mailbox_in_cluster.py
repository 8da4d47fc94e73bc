"""D7: a mailbox of a cluster of three NATS nodes: the end of its pull requests, and a lost leader of its consumer."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from nats.js.errors import APIError

from penstock.runtime.consumer.delivery import ACK, Delivery, Verdict
from penstock.runtime.consumer.mailbox import _REFUSED_WAIT_S
from penstock.runtime.consumer.puller import _SILENCE_S
from tests.harness.nats.cluster import NatsCluster
from tests.harness.suite.waiting import until
from tests.integration.runtime.consumer.mailbox_bench import MailboxBench


@pytest.fixture
async def bench(cluster: NatsCluster, unique: str) -> AsyncIterator[MailboxBench]:
    bench = MailboxBench(cluster.url, unique, ack_wait_s=30, replicas=3)
    await opened(bench)
    yield bench
    await bench.close()


async def opened(bench: MailboxBench) -> None:
    async def done() -> bool:
        try:
            await bench.open()
        except (APIError, TimeoutError):  # the nodes have not all joined yet
            return False
        return True

    await until(done, 30, every_s=0.2)


async def test_a_fulfilled_request_is_followed_by_the_next_at_once(bench, caplog):
    """The server sends the end of a request with `max_bytes` before the messages, which wait for the other replicas."""
    bodies = await bench.fill(400)
    with caplog.at_level(logging.WARNING, "penstock.runtime.consumer"):
        box = await bench.box(slots=10)
        took_s = await until(bench.is_empty, 60)
    assert Counter(box.done) == Counter(bodies)
    assert box.most_running <= 10
    assert box.repairs == 0
    assert not caplog.messages
    assert took_s < len(bodies) / 10 * _REFUSED_WAIT_S


async def test_a_request_that_ended_at_its_bytes_holds_its_slots_until_its_messages_come(bench):
    """A request is answered with two of these messages, and the next one is not sent before both have come."""
    large = bytes(bench.js._nc.max_payload * 3 // 8)
    await asyncio.gather(*(bench.js.publish(bench.consumer.filter_subject, large) for _ in range(12)))

    async def handle(delivery: Delivery) -> Verdict:
        await asyncio.sleep(0.1)
        return ACK

    box = await bench.box(handle, slots=8, most_bytes=1)
    await until(bench.is_empty, 30)
    assert len(box.done) == 12
    assert box.most_running <= 2


async def test_d7_a_pull_that_was_lost_with_the_leader_of_its_consumer_is_repeated_after_the_election(
    cluster, bench
):
    """The leader does not run when the request comes, and is killed: no other node knows of the request."""
    info = await bench.js.consumer_info(bench.consumer.stream, bench.consumer.durable)
    leader = cluster.nodes[info.cluster.leader]
    bench.url = next(node for node in cluster.nodes.values() if node is not leader).url
    os.kill(leader.pid, signal.SIGSTOP)
    box = await bench.box()
    await box.nc.flush()
    leader.kill()
    filling = asyncio.create_task(bench.fill(1))
    took_s = await until(lambda: len(box.done) == 1, _SILENCE_S + 10)
    await filling
    assert took_s < _SILENCE_S - 2
