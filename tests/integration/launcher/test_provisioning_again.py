"""Every service provisions at its start: the streams nearly fill what the embedded server may store."""

from __future__ import annotations

import asyncio

import nats

from penstock.provisioning import ensure
from services.launcher.nats_server import NatsServer


async def test_the_second_process_provisions_as_well_as_the_first(own_nats_server: NatsServer):
    nc = await nats.connect(own_nats_server.url)
    await ensure(nc.jetstream(), roles=["chat"])
    await ensure(nc.jetstream(), roles=["chat", "coding"])
    await nc.close()


async def test_two_processes_may_provision_at_once(own_nats_server: NatsServer):
    nc = await nats.connect(own_nats_server.url)
    await asyncio.gather(*(ensure(nc.jetstream(), roles=["chat"]) for _ in range(3)))
    await nc.close()
