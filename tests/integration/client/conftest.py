"""A client, and the scripted gateway that answers it."""

from __future__ import annotations

import pytest

from penstock import Client
from tests.integration.client.gateway import Gateway


@pytest.fixture
async def gateway(nats_server, unique):
    gateway = Gateway(nats_server.url, unique)
    await gateway.open()
    yield gateway
    await gateway.close()


@pytest.fixture
async def client(nats_server, gateway):
    async with await Client.connect(nats_server.url, account=gateway.account) as client:
        yield client
