"""D9: after a reconnection every listener is called."""

from __future__ import annotations

import logging

from penstock.bus.connection import Reconnects, servers_of


async def test_d9_a_listener_that_fails_does_not_stop_the_others(caplog):
    called = []

    async def fails() -> None:
        raise ValueError("broken listener")

    async def succeeds() -> None:
        called.append(1)

    reconnects = Reconnects()
    reconnects.add(fails)
    reconnects.add(succeeds)
    with caplog.at_level(logging.ERROR):
        await reconnects.reconnected()
    assert called == [1]
    assert "broken listener" in caplog.text
    reconnects.remove(succeeds)
    await reconnects.reconnected()
    assert called == [1]


def test_a_url_names_several_servers_separated_by_commas():
    assert servers_of("nats://a:4222, nats://b") == ["nats://a:4222", "nats://b"]
    assert servers_of("nats://a:4222") == ["nats://a:4222"]
