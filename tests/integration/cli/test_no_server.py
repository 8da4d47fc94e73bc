"""A client where no server is: told soon, in plain words, without the password (D10)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from penstock.cli.local.nats_server import NatsServer
from penstock.client.client import Client
from penstock.errors import BrokerUnreachable


@pytest.mark.timeout(10)
async def test_connecting_to_nobody_fails_soon_and_hides_the_password(free_port: Callable[[], int]):
    port = free_port()
    with pytest.raises(BrokerUnreachable) as caught:
        await Client.connect(f"nats://joe:secret@127.0.0.1:{port}")
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert "penstock up" in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_one_living_server_of_several_is_enough(
    own_nats_server: NatsServer, free_port: Callable[[], int]
):
    client = await Client.connect(f"nats://127.0.0.1:{free_port()},{own_nats_server.url}")
    await client.close()
