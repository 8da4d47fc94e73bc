"""`penstock up` restarts a nats-server that stores nothing although there is space, and only then."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import nats.errors
from nats.js import JetStreamContext

from penstock.cli.local.nats_server import NatsServer
from penstock.cli.local.nats_supervision import keep_nats_running
from tests.harness.nats.binary import require_nats_server
from tests.harness.nats.failing_disk import fill, refuse_writes, small_disk
from tests.harness.suite.waiting import until

BODY = bytes(100_000)


@asynccontextmanager
async def supervised(directory: Path) -> AsyncIterator[tuple[NatsServer, JetStreamContext, list[str]]]:
    """A server with the stream KEPT, a connection, and what the supervisor reports."""
    require_nats_server()
    server, reports = NatsServer(directory), []
    await server.start()
    client = await nats.connect(server.url, reconnect_time_wait=0.05, max_reconnect_attempts=-1)
    js = client.jetstream()
    await js.add_stream(name="KEPT", subjects=["kept.>"])
    keeping = asyncio.create_task(keep_nats_running(server, reports.append, time.monotonic))
    try:
        yield server, js, reports
        assert not keeping.done()
    finally:
        keeping.cancel()
        await client.close()
        server.kill()


async def is_stored(js: JetStreamContext) -> bool:
    try:
        await js.publish("kept.one", BODY, timeout=0.5)
    except nats.errors.Error:
        return False
    return True


async def test_after_a_full_disk_it_is_restarted_once_there_is_space(tmp_path: Path):
    with small_disk(tmp_path / "disk", 64) as disk:
        async with supervised(disk / "nats") as (server, js, reports):
            assert await is_stored(js)
            pid = server.pid
            fill(disk / "filler")
            assert not await is_stored(js)
            await until(lambda: bool(reports), 10)
            assert f"The disk of {server.store_dir} is full (0 MiB free): free 32 MiB there" in reports[0]
            await asyncio.sleep(1.0)  # several rounds of the supervisor
            assert (server.pid, len(reports)) == (pid, 1)

            (disk / "filler").unlink()
            await until(lambda: is_stored(js), 10)
            assert server.pid != pid
            assert (await js.stream_info("KEPT")).state.messages == 2
            assert reports[1:] == [
                reports[0].partition(". The disk")[0] + "; restarting it on the same port and store"
            ]


async def test_after_a_failed_write_on_a_disk_with_space_it_is_restarted(tmp_path: Path):
    async with supervised(tmp_path / "nats") as (server, js, reports):
        assert await is_stored(js)
        pid = server.pid
        assert pid is not None
        refuse_writes(pid)
        assert not await is_stored(js)
        await until(lambda: is_stored(js), 10)
        assert server.pid != pid
        assert "does not store messages" in reports[0]


async def test_a_server_that_died_on_a_full_disk_is_started_once_there_is_space(tmp_path: Path):
    with small_disk(tmp_path / "disk", 64) as disk:
        async with supervised(disk / "nats") as (server, js, reports):
            fill(disk / "filler")
            server.kill()
            await until(lambda: bool(reports), 5)
            assert "nats-server died. The disk of" in reports[0]
            (disk / "filler").unlink()
            await until(lambda: is_stored(js), 10)


async def test_a_store_that_is_deleted_is_reported_once(tmp_path: Path):
    async with supervised(tmp_path / "nats") as (server, js, reports):
        assert await is_stored(js)
        pid = server.pid
        shutil.rmtree(server.store_dir)
        assert await is_stored(js), "nats-server goes on with its open files"
        assert await server.store_fault() is None
        await until(lambda: bool(reports), 10)
        assert f"{server.store_dir} was deleted while nats-server runs" in reports[0]
        await asyncio.sleep(3.0)  # several rounds of the supervisor
        assert (server.pid, len(reports)) == (pid, 1)
