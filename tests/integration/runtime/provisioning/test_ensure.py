"""Provisioning: the server has the streams of the contract, after any number of runs in any number of processes."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path

import pytest
from msgspec.structs import replace
from nats.js.api import KeyValueConfig, RetentionPolicy, StorageType
from nats.js.errors import APIError, ServerError

from penstock.bus.connection import connect
from penstock.bus.jetstream_errors import advice, is_subject_full
from penstock.bus.publish import StreamFull, store
from penstock.bus.retry import RetryPolicy
from penstock.cli.local.nats_server import find_nats_server
from penstock.contract import subjects
from penstock.contract.intake.subjects import published_request
from penstock.contract.names import ROLES
from penstock.contract.streams import (
    BUCKETS,
    INTAKE,
    QUOTA,
    REQUESTS,
    ROUTER,
    STREAMS,
    WORK,
    mailbox,
    mailboxes,
)
from penstock.contract.subjects import QUOTA_STORED
from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.provisioning.ensure import (
    JetStreamPlan,
    _ensure_stream,
    consumer_config,
    ensure,
    ensure_eventually,
    ensure_streams,
    stream_config,
)
from penstock.runtime.provisioning.reconciler import find_drift
from tests.harness.nats.intake import intake_of


async def everything(js) -> dict[str, object]:
    """The configuration of all streams and consumers on the server."""
    streams = {info.config.name: info.config for info in await js.streams_info()}
    consumers = {(name, info.name): info.config for name in streams for info in await js.consumers_info(name)}
    return {**streams, **consumers}


async def test_provisioning_creates_the_contract_and_is_idempotent(own_nc):
    js = own_nc.jetstream()
    await ensure(js, JetStreamPlan(roles=ROLES, ack_wait_s=10, routes=True))
    first = await everything(js)
    await ensure(js, JetStreamPlan(roles=ROLES, ack_wait_s=10, routes=True))
    assert await everything(js) == first
    assert {name for name in first if isinstance(name, str)} == {
        *(stream.name for stream in STREAMS),
        *(f"KV_{bucket.name}" for bucket in BUCKETS),
    }
    durables = {(consumer.stream, consumer.durable) for consumer in (*INTAKE, *mailboxes(ROLES))}
    assert {name for name in first if isinstance(name, tuple)} == durables
    for stream in STREAMS:
        config = first[stream.name]
        assert config.subjects == [*stream.subjects, stream.probe_subject]
        assert (config.retention == RetentionPolicy.WORK_QUEUE) == (stream.retention == "workqueue")
        assert (config.max_age, config.max_bytes) == (stream.max_age_s, stream.max_bytes)
        assert config.storage == StorageType.FILE, "a memory stream would not survive a restart"
        assert config.allow_direct


async def test_requests_stored_before_the_intake_queues_are_kept_for_the_router(own_nc):
    """An older version stores requests as they are published, and has one consumer for them. Its services may still
    start, and take the transform away, while newer ones run: whatever is stored is delivered once.
    """
    js = own_nc.jetstream()
    older = stream_config(replace(REQUESTS, transform=None, subjects=(subjects.REQUEST_ALL,)))
    await js.add_stream(older)
    await js.add_consumer(REQUESTS.name, consumer_config(ROUTER, 10))
    plan = JetStreamPlan(ack_wait_s=10, routes=True)
    for number, lane in enumerate(("interactive", "interactive", "batch", "interactive")):
        if number == 1:
            await ensure(js, plan)
        if number == 3:
            await js.update_stream(older)
            assert REQUESTS.name in await find_drift(js, plan)
        await js.publish(subjects.request("demo", "chat", lane), str(number).encode())
    await ensure(js, plan)
    assert await find_drift(js, plan) == []
    taken = {}
    for durable in (ROUTER.durable, intake_of("demo").durable, intake_of("demo", "batch").durable):
        puller = await js.pull_subscribe_bind(durable, REQUESTS.name)
        for msg in await puller.fetch(4, timeout=1):
            taken[msg.data] = durable, published_request(msg.subject)
            await msg.ack_sync()
    plain, batch = subjects.request("demo", "chat"), subjects.request("demo", "chat", "batch")
    assert taken == {
        b"0": (ROUTER.durable, plain),
        b"1": (intake_of("demo").durable, plain),
        b"2": (intake_of("demo", "batch").durable, batch),
        b"3": (ROUTER.durable, plain),
    }
    assert (await js.stream_info(REQUESTS.name)).state.messages == 0


async def test_one_account_cannot_fill_the_requests_and_a_new_limit_deletes_none(own_nc):
    js = own_nc.jetstream()
    bounded = replace(REQUESTS, max_per_subject=20)
    await js.add_stream(stream_config(replace(REQUESTS, max_per_subject=-1, rejects_by_subject=False)))
    for number in range(30):
        await js.publish(subjects.request("flood", "chat"), str(number).encode())
    await _ensure_stream(js, bounded, 1)
    assert (await js.stream_info(REQUESTS.name)).state.messages == 30
    await js.purge_stream(REQUESTS.name, keep=20)
    await _ensure_stream(js, bounded, 1)
    with pytest.raises(StreamFull, match="per subject") as refused:
        await store(js, subjects.request("flood", "chat"), b"", message_id="1", timeout_s=0.5)
    assert isinstance(refused.value.__cause__, APIError)
    assert is_subject_full(refused.value.__cause__)
    assert "of this account" in advice(refused.value.__cause__)
    assert await store(js, subjects.request("other", "chat"), b"", message_id="2")
    await js.purge_stream(REQUESTS.name, keep=15)
    assert await store(js, subjects.request("flood", "chat"), b"", message_id="3")


async def test_five_processes_may_provision_at_once(own_nats_server):
    connections = [await connect(own_nats_server.url, name=f"p{number}") for number in range(5)]
    await asyncio.gather(
        *(ensure(nc.jetstream(), JetStreamPlan(roles=ROLES, ack_wait_s=10)) for nc in connections)
    )
    assert len(await connections[0].jetstream().streams_info()) == len(STREAMS) + len(BUCKETS)
    for nc in connections:
        await nc.close()


async def test_manual_changes_are_reverted(own_nc):
    js = own_nc.jetstream()
    await ensure(js, JetStreamPlan(roles=("chat",), ack_wait_s=10))
    right = await everything(js)
    stream = (await js.stream_info(WORK.name)).config
    stream.max_bytes, stream.description = 1024, "mine"
    await js.update_stream(stream)
    box = mailbox("chat", "batch")[3]
    consumer = (await js.consumer_info(box.stream, box.durable)).config
    consumer.ack_wait, consumer.max_ack_pending = 77.0, 1
    await js.add_consumer(box.stream, consumer)
    assert await everything(js) != right
    await ensure(js, JetStreamPlan(roles=("chat",), ack_wait_s=10))
    assert await everything(js) == right


async def test_a_bucket_without_republish_is_brought_up_to_date(own_nc):
    js = own_nc.jetstream()
    await js.create_key_value(KeyValueConfig(bucket=QUOTA.name, ttl=QUOTA.ttl_s, storage=StorageType.FILE))
    assert QUOTA.name in await find_drift(js, JetStreamPlan(roles=("chat",), ack_wait_s=10))
    await ensure(js, JetStreamPlan(roles=("chat",), ack_wait_s=10))
    assert await find_drift(js, JetStreamPlan(roles=("chat",), ack_wait_s=10)) == []
    received = await own_nc.subscribe(QUOTA_STORED)
    await (await js.key_value(QUOTA.name)).put("a.b", b"x")
    assert (await received.next_msg(2.0)).data == b"x"


async def test_a_stream_with_most_of_the_storage_can_be_updated(own_nc):
    """The server counts the requested size before it checks whether the stream exists."""
    js = own_nc.jetstream()
    large = replace(WORK, max_bytes=8 * 1024**3)
    await _ensure_stream(js, large, 1)
    await _ensure_stream(js, large, 1)
    with pytest.raises(ServerError, match="insufficient storage"):
        await _ensure_stream(js, replace(large, name="OTHER", subjects=("other",)), 1)


async def test_a_new_ack_wait_reaches_consumers_that_exist(own_nc):
    js = own_nc.jetstream()
    await ensure(js, JetStreamPlan(roles=("chat",), ack_wait_s=10))
    await ensure(js, JetStreamPlan(roles=("chat",), ack_wait_s=3))
    box = mailbox("chat", "interactive")[0]
    assert (await js.consumer_info(box.stream, box.durable)).config.ack_wait == 3


async def test_a_service_that_starts_before_the_server_waits_for_it(own_nats_server, own_nc, monkeypatch):
    monkeypatch.setattr(
        "penstock.runtime.provisioning.ensure._UNTIL_READY",
        RetryPolicy(timeout_s=math.inf, first_wait_s=0.05, longest_wait_s=0.05),
    )
    own_nats_server.kill()
    js = own_nc.jetstream(timeout=0.2)
    waiting = asyncio.create_task(ensure_eventually(js, JetStreamPlan(roles=("chat",), ack_wait_s=10)))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.5)
    await own_nats_server.start()
    await asyncio.wait_for(waiting, 10)
    assert (await js.stream_info(WORK.name)).config.name == WORK.name


async def test_too_little_storage_is_reported_within_a_second(tmp_path: Path):
    """The error contains the required and the available size; a smaller scale fits."""
    config = tmp_path / "nats.conf"
    config.write_text(
        f"listen: '127.0.0.1:-1'\nports_file_dir: {tmp_path}\njetstream {{store_dir: {tmp_path}, max_file: 1GB}}\n"
    )
    server = await asyncio.create_subprocess_exec(
        find_nats_server(), "-c", config, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(10):
            while not (found := [file for file in tmp_path.glob("*.ports") if file.stat().st_size]):
                await asyncio.sleep(0.02)
        (url,) = json.loads(found[0].read_text())["nats"]
        nc = await connect(url, name="test")
        async with asyncio.timeout(1):
            with pytest.raises(ConfigurationRefused, match=r"need 4\.4 GiB and there is less than 1\.\d GiB"):
                await ensure_eventually(nc.jetstream(), JetStreamPlan(ack_wait_s=10))
        await ensure_streams(nc.jetstream(), JetStreamPlan(ack_wait_s=10, store_scale=0.1))
        assert (await nc.jetstream().stream_info(WORK.name)).config.max_bytes == int(0.1 * WORK.max_bytes)
        await nc.close()
    finally:
        server.terminate()
        await server.wait()
