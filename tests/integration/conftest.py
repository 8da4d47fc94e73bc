"""Connections to the shared NATS server and to one that the test may restart, and a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client as Nats

from penstock.bus.connection import connect
from penstock.bus.ids import new_id
from penstock.cli.local.nats_server import NatsServer
from penstock.contract.names import ROLES
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from tests.harness.nats.binary import require_nats_server
from tests.harness.nats.cluster import NatsCluster


@pytest.fixture
async def nc(nats_server: NatsServer) -> AsyncIterator[Nats]:
    connection = await connect(nats_server.url, name="test")
    yield connection
    await connection.close()


@pytest.fixture
async def own_nc(own_nats_server: NatsServer) -> AsyncIterator[Nats]:
    connection = await connect(own_nats_server.url, name="test")
    yield connection
    await connection.close()


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[NatsCluster]:
    require_nats_server()
    started = NatsCluster(tmp_path)
    try:
        await started.start()
        yield started
    finally:
        started.kill()


@pytest.fixture
async def provisioned(nc: Nats) -> Nats:
    """The shared server with all streams, buckets and consumers of the contract."""
    await ensure(nc.jetstream(), JetStreamPlan(roles=ROLES, ack_wait_s=10))
    return nc


@pytest.fixture
def unique() -> str:
    """A token that no other test uses."""
    return new_id()
