"""After a reconnection everybody is told, whatever one of them does."""

from __future__ import annotations

import logging

from penstock.bus.connection import Reconnects, servers_of


async def test_one_listener_that_fails_keeps_no_other_from_hearing(caplog):
    heard = []

    async def fails() -> None:
        raise ValueError("broken listener")

    async def hears() -> None:
        heard.append(1)

    reconnects = Reconnects()
    reconnects.add(fails)
    reconnects.add(hears)
    with caplog.at_level(logging.ERROR):
        await reconnects.reconnected()
    assert heard == [1]
    assert "broken listener" in caplog.text
    reconnects.remove(hears)
    await reconnects.reconnected()
    assert heard == [1]


def test_several_servers_stand_with_commas_between():
    assert servers_of("nats://a:4222, nats://b") == ["nats://a:4222", "nats://b"]
    assert servers_of("nats://a:4222") == ["nats://a:4222"]
