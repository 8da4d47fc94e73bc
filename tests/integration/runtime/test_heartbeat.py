"""Presence: received live, read at the start, and never a reason for a failed shutdown."""

from __future__ import annotations

import asyncio
import functools
import itertools

import pytest

from penstock.bus.connection import close, connect
from penstock.contract.presence import Presence, RoleStatus
from penstock.contract.streams import PRESENCE
from penstock.runtime import heartbeat as heartbeat_module
from penstock.runtime.heartbeat import (
    Heartbeat,
    follow_presence,
    read_presence,
    read_recent_presence,
    watch_presence,
)
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from tests.harness.nats.raw_nats import RawMessage, RawNats
from tests.harness.suite.waiting import until


def worker(instance: str) -> Presence:
    return Presence(
        service="worker", instance=instance, at_ms=1, roles=(RoleStatus(role="chat", slots=4, running=1),)
    )


async def test_a_process_is_present_until_it_stops(provisioned, unique):
    received = []
    await watch_presence(provisioned, lambda name, presence: received.append((name, presence)), ("worker.*",))
    heartbeat = Heartbeat(provisioned, lambda: worker(unique))
    await heartbeat.start()

    async def alive() -> bool:
        return worker(unique) in await read_presence(provisioned)

    await until(alive)
    await heartbeat.stop()

    async def gone() -> bool:
        return not await alive()

    await until(gone)
    assert worker(unique) in await read_recent_presence(provisioned), "a router that starts now sees it"
    await until(lambda: [presence for name, presence in received if name == unique] == [worker(unique), None])


async def test_only_the_wanted_heartbeats_are_received(provisioned, unique):
    """Each one that a process receives wakes it up, also where nothing else happens."""
    names = [("worker", "w"), ("edge", "e-1"), ("edge", "e-2"), ("guard", "g")]
    before, after = (
        [Presence(service=each, instance=f"{unique}-{name}{when}", at_ms=1) for each, name in names]
        for when in ("", "-later")
    )
    hearts = [Heartbeat(provisioned, lambda each=each: each) for each in (*before, *after)]
    for heart in hearts[: len(before)]:
        await heart.start()
    followed, watched = [], []
    await follow_presence(
        provisioned, lambda name, _: followed.append(name), ("worker.*", f"edge.{unique}-e-1")
    )
    own = f"edge.{unique}-e-1-later"
    await watch_presence(provisioned, lambda name, _: watched.append(name), ("worker.*", own))
    for heart in hearts[len(before) :]:
        await heart.start()
    await until(lambda: {f"{unique}-w-later", f"{unique}-e-1-later"} <= set(watched))
    for heart in hearts:
        await heart.stop()
    await provisioned.flush()
    assert {each for each in watched if each.startswith(unique)} == {
        f"{unique}-w",
        f"{unique}-w-later",
        f"{unique}-e-1-later",
    }
    assert {each for each in followed if each.startswith(unique)} == {
        f"{unique}-w",
        f"{unique}-w-later",
        f"{unique}-e-1",
    }, "by the first read too"


async def test_bytes_that_are_not_a_presence_are_ignored(provisioned, unique):
    received = []
    await watch_presence(provisioned, lambda name, presence: received.append((name, presence)), ("worker.*",))
    await provisioned.publish(f"$KV.{PRESENCE.name}.worker.{unique}", b"\xff")
    heartbeat = Heartbeat(provisioned, lambda: worker(unique))
    await heartbeat.start()
    await until(lambda: (unique, worker(unique)) in received)
    await heartbeat.stop()


@pytest.mark.parametrize("key", ["worker.w-9", "worker.\udcff", "worker.\x7f", "\x0b", "worker.ü.x"])
@pytest.mark.parametrize("value", [b"", b"garbage", b"\xff", b"{}", b"[" * 3000])
async def test_hostile_bucket_entries_do_not_hide_live_processes(
    provisioned, nats_server, unique, key, value
):
    async with RawNats.opened(nats_server.url) as raw_nats:
        assert "seq" in (await raw_nats.publish([RawMessage(f"$KV.{PRESENCE.name}.{key}", value)]))[0]
    heartbeat = Heartbeat(provisioned, lambda: worker(unique))
    await heartbeat.start()

    async def alive() -> bool:
        return worker(unique) in await read_presence(provisioned)

    await until(alive)
    await heartbeat.stop()


async def test_presence_is_read_over_several_pages(provisioned, unique, monkeypatch):
    read = heartbeat_module.read_all
    monkeypatch.setattr(heartbeat_module, "read_all", functools.partial(read, batch=2))
    expected = [worker(f"{unique}-{number}") for number in range(7)]
    heartbeats = [Heartbeat(provisioned, lambda each=each: each) for each in expected]
    for heart in heartbeats:
        await heart.start()

    async def all_alive() -> bool:
        return [
            each for each in await read_presence(provisioned) if each.instance.startswith(unique)
        ] == expected

    await until(all_alive)
    for heart in heartbeats:
        await heart.stop()


async def test_a_heartbeat_sets_one_timer(provisioned, unique, monkeypatch):
    """Each timer wakes up a process that does nothing else."""
    loop, sent, timers = asyncio.get_running_loop(), [], []
    call_at = loop.call_at

    def counted(when, callback, *args, **context):
        task = asyncio.current_task()
        if task is not None and task.get_name() == "heartbeat":
            timers.append(when)
        return call_at(when, callback, *args, **context)

    monkeypatch.setattr(loop, "call_at", counted)
    heartbeat = Heartbeat(provisioned, lambda: sent.append(loop.time()) or worker(unique), every_s=0.3)
    await heartbeat.start()
    await until(lambda: len(sent) >= 4)
    assert len(sent) - 1 <= len(timers) <= len(sent)
    await heartbeat.stop()


async def test_changes_are_published_soon_and_at_most_every_quarter_second(provisioned, unique):
    loop, sent, changed = asyncio.get_running_loop(), [], asyncio.Event()
    heartbeat = Heartbeat(
        provisioned, lambda: sent.append(loop.time()) or worker(unique), changed, every_s=3600
    )
    await heartbeat.start()
    changed.set()
    await until(lambda: len(sent) == 2)
    changed.set()
    await until(lambda: len(sent) == 3)
    assert all(after_s - before_s > 0.24 for before_s, after_s in itertools.pairwise(sent))
    await heartbeat.stop()


async def test_without_a_bucket_no_process_is_present(own_nc):
    assert await read_presence(own_nc) == []


async def test_d9_a_heartbeat_stops_without_a_connection(own_nats_server):
    nc = await connect(own_nats_server.url, name="test")
    await ensure(nc.jetstream(), JetStreamPlan(roles=("chat",), ack_wait_s=10))
    heartbeats = [Heartbeat(nc, lambda: worker("w-1")) for _ in range(2)]
    for heart in heartbeats:
        await heart.start()
    own_nats_server.kill()
    async with asyncio.timeout(15):
        await heartbeats[0].stop()
        await close(nc)
        await heartbeats[1].stop()
