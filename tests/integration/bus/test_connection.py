"""A connection goes on, whatever comes over it."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from faststream.nats import NatsBroker
from nats.aio.client import Client as Nats

from penstock.bus.auth import NatsAuth
from penstock.bus.connection import Reconnects, close, connect, flush_failure, options
from penstock.runtime.service import Broker


async def test_what_cannot_be_read_at_all_costs_one_reconnection_d9(nats_server, unique, monkeypatch):
    """nats-py alone would leave the socket open, and unread until two pings went unanswered."""
    reconnects, lost, back = Reconnects(), [True], asyncio.Event()

    async def heard() -> None:
        back.set()

    reconnects.add(heard)
    nc = await connect(nats_server.url, name=unique, reconnects=reconnects)
    subscription = await nc.subscribe(unique)
    read = Nats._process_headers

    async def stumble(self, headers):
        if lost:
            lost.pop()
            raise RuntimeError("what nobody thought of")
        return await read(self, headers)

    monkeypatch.setattr(Nats, "_process_headers", stumble)
    await nc.publish(unique, b"first")
    await nc.flush()
    async with asyncio.timeout(15):
        await back.wait()
    await nc.publish(unique, b"second")
    assert (await subscription.next_msg(3)).data == b"second"
    await nc.close()


async def test_d9_who_leaves_a_server_that_is_away_says_why_not_all_was_sent(own_nats_server, unique, caplog):
    nc = await connect(own_nats_server.url, name=unique)
    own_nats_server.kill()
    async with asyncio.timeout(5):
        while nc.is_connected:
            await asyncio.sleep(0.01)
    await close(nc)
    assert nc.is_closed
    assert "before closing: not connected" in caplog.text


async def test_d9_who_leaves_a_server_that_does_not_read_says_why_not_all_was_sent(
    own_nats_server, unique, caplog
):
    nc = await connect(own_nats_server.url, name=unique)
    assert own_nats_server.pid is not None
    os.kill(own_nats_server.pid, signal.SIGSTOP)
    try:
        while await flush_failure(nc) is None:  # a signal takes its time
            await asyncio.sleep(0.01)
        await close(nc)
    finally:
        os.kill(own_nats_server.pid, signal.SIGCONT)
    assert nc.is_closed
    assert "before closing: nats: flush timeout" in caplog.text


async def test_d9_a_broker_whose_handlers_do_not_end_leaves_the_server_all_the_same(
    own_nats_server, unique, monkeypatch
):
    broker = Broker([own_nats_server.url], NatsAuth(), **options(unique, Reconnects()))
    nc = await broker.connect()
    own_nats_server.kill()

    async def fail(*_: object) -> None:
        raise RuntimeError("a handler did not end")

    monkeypatch.setattr(NatsBroker, "stop", fail)
    with pytest.raises(RuntimeError, match="did not end"):
        await broker.stop()
    assert nc.is_closed
