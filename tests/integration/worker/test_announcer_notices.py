"""C7: a crossing observed by many workers is stored once, and warnings and their ends alternate."""

from __future__ import annotations

import asyncio

import nats
import pytest
from nats.js import JetStreamContext

from penstock.cli.local.nats_server import NatsServer
from penstock.contract import codec, subjects
from penstock.contract.events import QuotaEased, QuotaWarned
from penstock.contract.streams import AUDIT
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from services.worker.announcer import store_notice

COMMON = {"provider": "p", "model": "m", "credential": "k", "limit": "requests_per_minute", "allowed": 10}
SUBJECT = subjects.limit_event("k.m", "requests_per_minute")
WORKERS = 8


async def stored_by(js: JetStreamContext, *, warned: bool) -> int:
    """Number of workers whose own event was stored."""
    kind = QuotaWarned if warned else QuotaEased
    events = [kind(worker=f"w{each}", used=each, at_ms=each, **COMMON) for each in range(WORKERS)]
    stored = await asyncio.gather(*(store_notice(js, SUBJECT, event, timeout_s=5) for event in events))
    return sum(stored)


async def test_c7_each_crossing_is_stored_once(own_nats_server: NatsServer) -> None:
    nc = await nats.connect(own_nats_server.url)
    try:
        js = nc.jetstream()
        await ensure(js, JetStreamPlan(roles=("chat",), ack_wait_s=10.0))
        assert await stored_by(js, warned=False) == 0, "without a warning, no end of one is stored"
        for _ in range(3):
            assert await stored_by(js, warned=True) == 1
            assert await stored_by(js, warned=True) == 0, "the warning is stored already"
            assert await stored_by(js, warned=False) == 1
            assert await stored_by(js, warned=False) == 0
        info = await js.stream_info(AUDIT.name, subjects_filter=SUBJECT)
        assert (info.state.subjects or {})[SUBJECT] == 6
        last = codec.EVENT.decode((await js.get_last_msg(AUDIT.name, SUBJECT)).data or b"")
        assert isinstance(last, QuotaEased)
    finally:
        await nc.close()


async def test_c7_a_crossing_during_an_outage_is_stored_afterwards(
    own_nats_server: NatsServer,
) -> None:
    nc = await nats.connect(own_nats_server.url, reconnect_time_wait=0.1, max_reconnect_attempts=-1)
    try:
        js = nc.jetstream()
        await ensure(js, JetStreamPlan(roles=("chat",), ack_wait_s=10.0))
        own_nats_server.kill()
        event = QuotaWarned(worker="w", used=9, at_ms=1, **COMMON)
        storing = asyncio.create_task(store_notice(js, SUBJECT, event, timeout_s=20))
        await asyncio.sleep(6.0)
        assert not storing.done(), "nats-py alone gives up after five seconds"
        await own_nats_server.start()
        assert await storing
        assert codec.EVENT.decode((await js.get_last_msg(AUDIT.name, SUBJECT)).data or b"") == event
    finally:
        await nc.close()


@pytest.mark.parametrize("garbage", [b"\xff garbage", b'{"type":"\xff"}', b'"text"', b""])
async def test_c7_an_unreadable_message_does_not_suppress_warnings(
    own_nats_server: NatsServer, garbage: bytes
) -> None:
    nc = await nats.connect(own_nats_server.url)
    try:
        js = nc.jetstream()
        await ensure(js, JetStreamPlan(roles=("chat",), ack_wait_s=10.0))
        await js.publish(SUBJECT, garbage)
        assert await stored_by(js, warned=True) == 1
        assert await stored_by(js, warned=False) == 1
    finally:
        await nc.close()
