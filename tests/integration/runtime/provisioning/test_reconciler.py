"""D9: streams, buckets and consumers that are deleted or changed on the server are restored within seconds."""

from __future__ import annotations

import asyncio

import pytest
from nats.js.errors import BadRequestError

from penstock.bus.connection import ConnectionEvents
from penstock.contract.streams import (
    BUCKETS,
    CANCELS,
    EVENTS,
    PRESENCE,
    REPLIES,
    REQUESTS,
    ROUTER,
    STREAMS,
    mailbox,
    mailboxes,
)
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from penstock.runtime.provisioning.reconciler import Reconciler, find_drift
from tests.harness.suite.waiting import until
from tests.integration.runtime.provisioning.test_ensure import everything

ROLES = ("chat", "fast")
BOX = mailbox("chat", "batch")[1]


@pytest.fixture
async def js(own_nc):
    js = own_nc.jetstream(timeout=1)
    await ensure(js, JetStreamPlan(roles=ROLES, ack_wait_s=10, routes=True))
    return js


async def missing(js):
    return await find_drift(js, JetStreamPlan(roles=ROLES, ack_wait_s=10, routes=True))


async def test_an_unchanged_server_has_no_drift(js):
    for number in range(3):
        await js.add_stream(name=f"FOREIGN-{number}", subjects=[f"foreign.{number}"])
    assert await missing(js) == []


async def test_an_empty_server_misses_everything(own_nc):
    js = own_nc.jetstream()
    names = {*(stream.name for stream in STREAMS), *(bucket.name for bucket in BUCKETS)}
    assert names <= set(await missing(js))
    assert f"{ROUTER.stream}/{ROUTER.durable}" in await missing(js)


@pytest.mark.parametrize("name", [*(stream.name for stream in STREAMS), f"KV_{PRESENCE.name}"])
async def test_d9_a_deleted_stream_or_bucket_is_restored(js, name):
    right = await everything(js)
    await js.delete_stream(name)
    assert await missing(js)
    await Reconciler(js, JetStreamPlan(roles=ROLES, ack_wait_s=10, routes=True)).reconcile()
    assert await missing(js) == []
    assert await everything(js) == right


@pytest.mark.parametrize("consumer", [ROUTER, BOX])
async def test_d9_a_deleted_consumer_is_restored(js, consumer):
    await js.delete_consumer(consumer.stream, consumer.durable)
    assert await missing(js) == [f"{consumer.stream}/{consumer.durable}"]
    await Reconciler(js, JetStreamPlan(roles=ROLES, ack_wait_s=10, routes=True)).reconcile()
    assert await missing(js) == []


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (f"KV_{PRESENCE.name}", {"max_age": 3600}),
        (f"KV_{PRESENCE.name}", {"max_age": 2, "duplicate_window": 1}),
        (f"KV_{PRESENCE.name}", {"max_msgs_per_subject": 9}),
        (REPLIES.name, {"max_age": 60, "duplicate_window": 60}),
        (REQUESTS.name, {"max_bytes": 1024}),
        (EVENTS.name, {"subjects": ["llm.event.usage.*.demo"]}),
    ],
)
async def test_d9_a_changed_setting_is_restored(js, name, change):
    config = (await js.stream_info(name)).config
    await js.update_stream(config.evolve(**change))
    assert await missing(js) == [name.removeprefix("KV_")]
    await Reconciler(js, JetStreamPlan(roles=ROLES, ack_wait_s=10, routes=True)).reconcile()
    assert await missing(js) == []
    restored = (await js.stream_info(name)).config
    assert all(getattr(restored, field) == getattr(config, field) for field in change)


async def test_another_ack_wait_is_drift(js):
    assert len(await find_drift(js, JetStreamPlan(roles=ROLES, ack_wait_s=3))) == len(mailboxes(ROLES))


async def test_failing_and_recovered_reconciliation_is_reported(js, monkeypatch):
    monkeypatch.setattr("penstock.runtime.provisioning.reconciler._EVERY_S", 0.02)
    await js.delete_stream(CANCELS.name)
    await js.add_stream(name="FOREIGN", subjects=["llm.cancel.>"])
    upkeep = Reconciler(js, JetStreamPlan(roles=ROLES, ack_wait_s=10, routes=True))
    with pytest.raises(BadRequestError, match="overlap"):
        await upkeep.reconcile()
    upkeep.start(ConnectionEvents())
    await until(lambda: not upkeep.succeeded)
    await js.delete_stream("FOREIGN")
    await until(lambda: upkeep.succeeded)
    assert await missing(js) == []
    await upkeep.stop()


async def test_reconciliation_resumes_when_the_server_is_back(js, own_nats_server, monkeypatch):
    monkeypatch.setattr("penstock.runtime.provisioning.reconciler._EVERY_S", 0.02)
    upkeep = Reconciler(js, JetStreamPlan(roles=ROLES, ack_wait_s=10, routes=True))
    upkeep.start(ConnectionEvents())
    own_nats_server.kill()
    await until(lambda: not upkeep.succeeded)
    await own_nats_server.start()
    async with asyncio.timeout(20):
        await until(lambda: upkeep.succeeded)
    await upkeep.stop()
