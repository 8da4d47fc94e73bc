"""Connecting to an unreachable server fails soon and without the password in the error (D10)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from penstock.client.client import Client
from penstock.errors import BrokerUnreachable


@pytest.mark.timeout(10)
@pytest.mark.parametrize("url", ["http://joe:secret@x", "nats://127.0.0.1:4222,https://x:4222", "nats://x,"])
async def test_d10_an_address_that_is_not_of_nats_is_a_value_error(url: str, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(
        ValueError, match="is not the address of a NATS server: use nats://host:4222"
    ) as caught:
        await Client.connect(url)
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("NATS_URL", url)
    with pytest.raises(ValueError, match="is not the address of a NATS server"):
        await Client.connect()


@pytest.mark.timeout(10)
async def test_d10_an_unreachable_server_fails_soon_without_the_password(free_port: Callable[[], int]):
    port = free_port()
    with pytest.raises(BrokerUnreachable) as caught:
        await Client.connect(f"nats://joe:secret@127.0.0.1:{port}")
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert "penstock up" in str(caught.value)
    assert "secret" not in str(caught.value)
