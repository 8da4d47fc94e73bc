"""D9: after a reconnection every listener is called."""

from __future__ import annotations

import logging

from penstock.bus.connection import Reconnects


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
