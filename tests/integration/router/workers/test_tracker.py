"""C3: heartbeats sent while the router was disconnected."""

from __future__ import annotations

import asyncio

import nats

from penstock.bus.clock import SYSTEM
from penstock.bus.connection import ConnectionEvents, close, connect
from penstock.cli.local.nats_server import NatsServer
from penstock.contract.presence import Presence, RoleStatus
from penstock.runtime.config.catalogue import Batch, RoleConfig
from penstock.runtime.epochs import DeliveryEpochs
from penstock.runtime.heartbeat import Heartbeat
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from penstock.runtime.service import Bus
from services.router.admission.capacity import Capacity
from services.router.replies.stored_replies import StoredReplies
from services.router.workers.tracker import WorkerTracker
from tests.harness.suite.waiting import until

AWAY_S = 2.0
"""Seconds until the router reconnects; the worker has sent its heartbeat before that and is frozen."""


async def test_c3_presence_stored_during_a_disconnection_is_read(
    own_nats_server: NatsServer,
) -> None:
    worker = Presence(
        service="worker", instance="w", at_ms=1, roles=(RoleStatus(role="chat", slots=4, running=0),)
    )
    roles = {"chat": RoleConfig(chain=("m",))}
    connection_events, again = ConnectionEvents(), asyncio.Event()
    provisioner = await connect(own_nats_server.url, name="p")
    await ensure(provisioner.jetstream(), JetStreamPlan(roles=(), ack_wait_s=10))
    nc = await nats.connect(
        own_nats_server.url,
        max_reconnect_attempts=-1,
        reconnect_time_wait=AWAY_S,
        reconnected_cb=connection_events.reconnected,
    )
    bus = Bus(nc, nc.jetstream(), connection_events, DeliveryEpochs(nc))
    tracker = WorkerTracker(bus, Capacity(roles, Batch()), roles, StoredReplies(), SYSTEM)
    await tracker.start()
    assert tracker.served(SYSTEM.monotonic_s()) == frozenset()

    async def reconnected() -> None:
        again.set()

    connection_events.add_reconnect_listener(reconnected)
    await own_nats_server.stop()
    await own_nats_server.start()
    await store_presence(own_nats_server.url, worker)
    assert not nc.is_connected, "a connected router would receive the heartbeat live"
    async with asyncio.timeout(20):
        await again.wait()

    async def served() -> bool:
        return tracker.served(SYSTEM.monotonic_s()) == {"chat"} and not tracker._reads_in_progress

    await until(served)
    await nc.close()
    await close(provisioner)


async def test_c3_only_what_serves_requests_is_followed(own_nats_server: NatsServer) -> None:
    roles = {"chat": RoleConfig(chain=("m",))}
    nc = await connect(own_nats_server.url, name="r")
    await ensure(nc.jetstream(), JetStreamPlan(roles=(), ack_wait_s=10))
    bus = Bus(nc, nc.jetstream(), ConnectionEvents(), DeliveryEpochs(nc))
    tracker = WorkerTracker(bus, Capacity(roles, Batch()), roles, StoredReplies(), SYSTEM)
    await tracker.start()
    serving = {"ledger": "ledger", "worker": "chat", "indexer": "index", "router": "router"}
    for service, role in serving.items():
        status = (RoleStatus(role=role, slots=4, running=0),) if service != "router" else ()
        await store_presence(
            own_nats_server.url, Presence(service=service, instance=service, at_ms=1, roles=status)
        )
    await until(lambda: tracker._routers.instances(SYSTEM.monotonic_s()) == {"router"})
    assert tracker.served(SYSTEM.monotonic_s()) == {"chat", "index"}
    await close(nc)


async def store_presence(url: str, worker: Presence) -> None:
    """Send one heartbeat, which the bucket keeps."""
    nc = await connect(url, name="w")
    await ensure(nc.jetstream(), JetStreamPlan(roles=(), ack_wait_s=10))
    heartbeat = Heartbeat(nc, lambda: worker)
    await heartbeat._publish()
    await nc.flush()
    await close(nc)
