"""A connection goes on, whatever comes over it."""

from __future__ import annotations

import asyncio

from nats.aio.client import Client as Nats

from penstock.connection import Reconnects, connect


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
