"""C1: workers replace an invalid entry in the bucket, continue, and share one limit."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from nats.js import JetStreamContext

from penstock.bus.clock import SYSTEM
from penstock.bus.connection import ConnectionEvents, connect
from penstock.bus.ids import new_id
from penstock.cli.local.nats_server import NatsServer
from penstock.contract import codec
from penstock.contract.quota import QuotaRecord
from penstock.contract.streams import QUOTA
from penstock.runtime.config.catalogue import Batch, Limits
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from services.worker.rate_limit.quota import Need, Permit, QuotaKey
from services.worker.rate_limit.shared.nats_store import NatsRecordStore
from services.worker.rate_limit.shared.replica import Member
from services.worker.rate_limit.shared.shared_quota import SharedQuota
from tests.harness.suite.waiting import until

LIMITED, FREE = QuotaKey("A_KEY", "limited"), QuotaKey("A_KEY", "free")
LEASE = {"holder": "x", "number": 1, "until_ms": 1}


def _record(**fields: object) -> bytes:
    return msgspec.json.encode({"type": "quota_record", "at_ms": 0, **fields})


INVALID = {
    "no_text": b'{"type":"quota_record","at_ms":1,"pause_reason":"\xff\xfe"}',
    "bytes": bytes(range(256)),
    "deep": b"[" * 100_000,
    "huge": b'{"type":"quota_record","at_ms":' + b"9" * 400 + b"}",
    "far_ahead": _record(at_ms=2**53, paused_until_ms=2**62),
    "paused_for_years": _record(at_ms=60_000, paused_until_ms=10**11),
    "leased_for_years": _record(at_ms=60_000, leases=[{**LEASE, "until_ms": 10**11, "requests": 20}]),
    "negative": _record(minute=[[1, -5, -500]], leases=[{**LEASE, "requests": -9, "tokens": -9}]),
    "many_leases": _record(leases=[{**LEASE, "holder": f"{number}"} for number in range(100_000)]),
}


@asynccontextmanager
async def two_workers(server: NatsServer) -> AsyncIterator[tuple[JetStreamContext, list[SharedQuota], str]]:
    name = new_id()
    records = {LIMITED: f"limited.{name}", FREE: f"free.{name}"}
    nc = await connect(server.url, name="test", events=ConnectionEvents())
    js = nc.jetstream()
    await ensure(js, JetStreamPlan(roles=("chat",), ack_wait_s=10.0))

    async def repair() -> None:
        await ensure(js, JetStreamPlan(roles=("chat",), ack_wait_s=10.0))

    quotas = []
    for _ in range(2):
        limits = {LIMITED: Limits(requests_per_minute=20), FREE: Limits()}
        store = NatsRecordStore(nc, js, repair)
        quota = SharedQuota(
            limits, records, Member(new_id(), random.random, SYSTEM.unix_s), store, batch=Batch()
        )
        await store.watch(quota.observe)
        await quota.start()
        quotas.append(quota)
    try:
        yield js, quotas, name
    finally:
        for quota in quotas:
            await quota.stop()
        await nc.close()


def _now_s() -> float:
    return asyncio.get_running_loop().time()


async def _drain(quota: SharedQuota, for_s: float) -> int:
    count, until_s = 0, _now_s() + for_s
    while _now_s() < until_s:
        if isinstance(quota.try_acquire(LIMITED, Need(1), _now_s()), Permit):
            count += 1
        else:
            await asyncio.sleep(0.01)
    return count


@pytest.mark.parametrize("invalid", INVALID)
async def test_c1_a_limit_survives_an_invalid_entry(nats_server: NatsServer, invalid: str) -> None:
    async with two_workers(nats_server) as (js, quotas, name):
        before = sum(await asyncio.gather(*(_drain(quota, 0.7) for quota in quotas)))
        assert before == 20
        await js.publish(f"$KV.{QUOTA.name}.limited.{name}", INVALID[invalid])
        assert await asyncio.gather(*(_drain(quota, 1.5) for quota in quotas)) == [0, 0]
        assert all(quota.unreachable_records == () for quota in quotas)

        async def counts_all_spending() -> bool:
            entry = await js.get_last_msg(f"KV_{QUOTA.name}", f"$KV.{QUOTA.name}.limited.{name}")
            if entry.data == INVALID[invalid]:
                return False
            record = codec.QUOTA.decode(entry.data or b"")
            return sum(grain[1] for grain in record.minute) == 20

        await until(counts_all_spending)


async def test_c1_a_read_is_current_and_reports_a_missing_bucket(
    own_nats_server: NatsServer,
) -> None:
    nc = await connect(own_nats_server.url, name="test", events=ConnectionEvents())
    js = nc.jetstream()
    await ensure(js, JetStreamPlan(roles=("chat",), ack_wait_s=10.0))
    repaired = []

    async def repair() -> None:
        repaired.append(1)
        await ensure(js, JetStreamPlan(roles=("chat",), ack_wait_s=10.0))

    store = NatsRecordStore(nc, js, repair)
    assert await store.read("some.record") is None
    revision = await store.write("some.record", codec.encode(QuotaRecord(at_ms=7)), 0)
    found = await store.read("some.record")
    assert found is not None
    assert found.revision == revision
    assert found.at_s > 1e9
    await js.delete_stream(f"KV_{QUOTA.name}")
    with pytest.raises(Exception, match="was missing"):
        await store.read("some.record")
    assert repaired == [1]
    assert await store.read("some.record") is None
    await nc.close()
