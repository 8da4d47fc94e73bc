"""D9: after a reconnection every listener is called."""

from __future__ import annotations

import logging

from penstock.bus.connection import ConnectionEvents


async def test_d9_a_listener_that_fails_does_not_stop_the_others(caplog):
    called = []

    async def fails() -> None:
        raise ValueError("broken listener")

    async def succeeds() -> None:
        called.append(1)

    connection_events = ConnectionEvents()
    connection_events.add_reconnect_listener(fails)
    connection_events.add_reconnect_listener(succeeds)
    with caplog.at_level(logging.ERROR):
        await connection_events.reconnected()
    assert called == [1]
    assert "broken listener" in caplog.text
    connection_events.remove_reconnect_listener(succeeds)
    await connection_events.reconnected()
    assert called == [1]


async def test_d9_a_refused_connection_names_the_server_and_hides_the_password(caplog):
    connection_events = ConnectionEvents("nats://ada:secret@gate:4222")
    await connection_events.error(ConnectionRefusedError(111, "Connection refused"))

    assert "NATS at nats://…@gate:4222: [Errno 111] Connection refused; trying again" in caplog.text
    assert "NATS_URL" in caplog.text
    assert "secret" not in caplog.text
