"""D9: a connection survives unreadable data, and closing ends in time."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE

import pytest
from faststream.nats import NatsBroker
from nats.aio.client import Client as Nats
from nats.aio.transport import TcpTransport

from penstock.bus.auth import NatsAuth
from penstock.bus.connection import ConnectionEvents, close, connect, flush_failure, options
from penstock.errors import BrokerUnreachable
from penstock.runtime.service import Broker
from tests.integration.bus.nats_auth_server import nats_server_with


async def test_d9_unreadable_data_costs_one_reconnection(nats_server, unique, monkeypatch):
    """nats-py would leave the socket open and unread until two pings had gone unanswered."""
    connection_events, lost, back = ConnectionEvents(), [True], asyncio.Event()

    async def reconnected() -> None:
        back.set()

    connection_events.add_reconnect_listener(reconnected)
    nc = await connect(nats_server.url, name=unique, events=connection_events)
    subscription = await nc.subscribe(unique)
    read = Nats._process_headers

    async def fail_once(self, headers):
        if lost:
            lost.pop()
            raise RuntimeError("an unexpected error")
        return await read(self, headers)

    monkeypatch.setattr(Nats, "_process_headers", fail_once)
    await nc.publish(unique, b"first")
    async with asyncio.timeout(15):
        await back.wait()
    await nc.publish(unique, b"second")
    assert (await subscription.next_msg(3)).data == b"second"
    await nc.close()


async def test_d9_closing_without_a_connection_logs_why_data_is_lost(own_nats_server, unique, caplog):
    nc = await connect(own_nats_server.url, name=unique)
    own_nats_server.kill()
    async with asyncio.timeout(5):
        while nc.is_connected:
            await asyncio.sleep(0.01)
    await close(nc)
    assert nc.is_closed
    assert "before closing: not connected" in caplog.text


async def test_d9_closing_at_a_frozen_server_logs_why_data_is_lost(own_nats_server, unique, caplog):
    nc = await connect(own_nats_server.url, name=unique)
    assert own_nats_server.pid is not None
    os.kill(own_nats_server.pid, signal.SIGSTOP)
    try:
        while await flush_failure(nc) is None:  # a signal takes a moment to arrive
            await asyncio.sleep(0.01)
        await close(nc)
    finally:
        os.kill(own_nats_server.pid, signal.SIGCONT)
    assert nc.is_closed
    assert "before closing: nats: flush timeout" in caplog.text


async def test_d9_a_connection_lost_while_it_is_being_closed_is_logged(nc, unique, monkeypatch, caplog):
    flush = Nats.flush

    async def lost(_: TcpTransport) -> None:
        raise ConnectionResetError("reset by the server")

    async def flush_then_publish(self: Nats, timeout: float) -> None:
        await flush(self, timeout)
        await self.publish(unique)
        monkeypatch.setattr(TcpTransport, "drain", lost)

    monkeypatch.setattr(Nats, "flush", flush_then_publish)
    await close(nc)
    nc._transport.close()
    assert nc.is_closed
    assert "was lost while it was being closed: reset by the server" in caplog.text


async def test_d9_a_broker_disconnects_although_a_handler_does_not_end(own_nats_server, unique, monkeypatch):
    broker = Broker([own_nats_server.url], NatsAuth(), **options(unique, ConnectionEvents()))
    nc = await broker.connect()
    own_nats_server.kill()

    async def fail(*_: object) -> None:
        raise RuntimeError("a handler did not end")

    monkeypatch.setattr(NatsBroker, "stop", fail)
    with pytest.raises(RuntimeError, match="did not end"):
        await broker.stop()
    assert nc.is_closed


@pytest.mark.parametrize("url", ["nats://127.0.0.1:abc", "nats://", "nats://[::1"])
async def test_d10_an_address_that_cannot_be_read_is_reported(url):
    with pytest.raises(BrokerUnreachable, match="nats"):
        await connect(url, name="test", events=ConnectionEvents())


async def test_d9_a_service_connects_to_a_web_socket(tmp_path, free_port):
    """A service imports nats-py without aiohttp, which only these connections need."""
    port = free_port()
    config = f'websocket {{ listen: "127.0.0.1:{port}", no_tls: true }}'
    program = """
import asyncio, sys
from penstock.runtime.processes.nats_import import import_nats_without_aiohttp
import_nats_without_aiohttp()
from penstock.bus.auth import NatsAuth
from penstock.bus.connection import ConnectionEvents, options
from penstock.runtime.service import Broker

async def main() -> None:
    before = "aiohttp" in sys.modules
    broker = Broker([sys.argv[1]], NatsAuth(), **options("service", ConnectionEvents()), logger=None)
    nc = await broker.connect()
    await nc.flush()
    await broker.stop()
    print(before, nc.is_closed)

asyncio.run(main())
"""
    async with nats_server_with(config, tmp_path, free_port()):
        done = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, f"ws://127.0.0.1:{port}", stdout=PIPE, stderr=PIPE
        )
        out, err = await done.communicate()
    assert out.split() == [b"False", b"True"], err.decode()
