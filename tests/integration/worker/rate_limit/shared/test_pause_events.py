"""C4: a 429 of a model without a configured limit pauses every worker, also one that starts later."""

from __future__ import annotations

import asyncio
import random
import statistics
from functools import partial
from typing import Self

import pytest

from penstock.bus.clock import SYSTEM
from penstock.bus.connection import ConnectionEvents, connect
from penstock.bus.ids import new_id
from penstock.cli.local.nats_server import NatsServer
from penstock.contract import codec, subjects
from penstock.contract.events import QuotaPaused
from penstock.runtime.config.catalogue import Batch, Catalogue, Limits, Model, ProviderConfig, RoleConfig
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from services.worker.announcer import Announcer
from services.worker.pending_events import PendingEvents
from services.worker.rate_limit.quota import Denied, Need, Permit, QuotaKey
from services.worker.rate_limit.shared.nats_store import NatsRecordStore
from services.worker.rate_limit.shared.pause_events import PauseEvents
from services.worker.rate_limit.shared.replica import Member
from services.worker.rate_limit.shared.shared_quota import SharedQuota

A, B = QuotaKey("A_KEY", "free"), QuotaKey("B_KEY", "free")
CATALOGUE = Catalogue(
    name="c",
    providers={"p": ProviderConfig(api_key_env=("A_KEY", "B_KEY"))},
    models={"free": Model(provider="p")},
    roles={"chat": RoleConfig(chain=("free",))},
)


_DELIVERY_S = 2.0
"""Seconds that a delivery may take on a busy machine; usually milliseconds."""


def _now_s() -> float:
    return asyncio.get_running_loop().time()


class Worker:
    """One worker: its connection, its quota, its announced and observed pauses."""

    def __init__(self, server: NatsServer, records: dict[QuotaKey, str]) -> None:
        self._server = server
        self._records = records
        self._name = new_id()

    async def start(self) -> None:
        self._nc = await connect(self._server.url, name="test", events=ConnectionEvents())
        js = self._nc.jetstream()
        plan = JetStreamPlan(roles=("chat",), ack_wait_s=10.0)
        await ensure(js, plan)
        store = NatsRecordStore(self._nc, js, partial(ensure, js, plan))
        member = Member(self._name, random.random, SYSTEM.unix_s)
        self.quota = SharedQuota({A: Limits(), B: Limits()}, self._records, member, store, batch=Batch())
        self._pending = PendingEvents(js)
        self.announcer = Announcer(self._pending, CATALOGUE, SYSTEM, self._name)
        await store.watch(self.quota.observe)
        await self.quota.start()
        events = PauseEvents(self._nc, js, self._name, self.quota.apply_pause, SYSTEM)
        await events.start(self.quota.unlimited_models)

    async def stop(self) -> None:
        await self._pending.drain(1.0)
        await self.quota.stop()
        await self._nc.close()

    def receive_429(self, key: QuotaKey, pause_s: float, why: str = "429") -> None:
        """Pause and announce, as the worker does after a 429."""
        now_s = _now_s()
        until_s = self.quota.pause(key, now_s + pause_s, why)
        self.announcer.quota_paused(key, until_s - now_s, why)

    async def publish_event(self, data: bytes) -> None:
        await self._nc.publish(subjects.event("quota", A.model), data)

    async def paused_s(self, key: QuotaKey, at_least_s: float, within_s: float = _DELIVERY_S) -> float:
        """Seconds for which `key` is paused, once it is."""
        async with asyncio.timeout(within_s):
            while (wait_s := self.quota.wait_s(key, Need(1), _now_s())) < at_least_s:
                await asyncio.sleep(0.005)
        return wait_s


class Workers:
    """Workers with records and a model that only this test uses."""

    def __init__(self, server: NatsServer, *, one_group: bool = False) -> None:
        self._server = server
        name = new_id()
        self._records = {A: f"a.{name}", B: f"a.{name}" if one_group else f"b.{name}"}
        self._joined: list[Worker] = []

    async def join(self) -> Worker:
        worker = Worker(self._server, self._records)
        await worker.start()
        self._joined.append(worker)
        return worker

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self._joined:
            await worker.stop()


async def test_c4_a_429_pauses_all_workers_and_one_that_starts_later(own_nats_server: NatsServer) -> None:
    async with Workers(own_nats_server) as workers:
        a, b = await workers.join(), await workers.join()
        began_s = _now_s()
        a.receive_429(A, 120.0, "429: come back later")
        left_s = await b.paused_s(A, 100.0)
        assert left_s == pytest.approx(began_s + 120 - _now_s(), abs=0.3)
        assert b.quota.try_acquire(A, Need(1), _now_s()) == Denied()
        assert isinstance(b.quota.try_acquire(B, Need(1), _now_s()), Permit), "another key is another quota"
        late = await workers.join()
        assert late.quota.wait_s(A, Need(1), _now_s()) == pytest.approx(began_s + 120 - _now_s(), abs=0.5)
        assert late.quota.wait_s(B, Need(1), _now_s()) == 0


async def test_c4_other_workers_pause_within_50_ms(own_nats_server: NatsServer) -> None:
    async with Workers(own_nats_server) as workers:
        a, b = await workers.join(), await workers.join()
        took_s = []
        for pause_s in (40.0, 60.0, 80.0, 100.0, 120.0):
            began_s = _now_s()
            a.receive_429(A, pause_s)
            await b.paused_s(A, pause_s - 10.0)
            took_s.append(_now_s() - began_s)
        assert statistics.median(took_s) < 0.05, "single deliveries may be slower on a busy machine"


async def test_c4_a_shorter_pause_does_not_shorten_a_longer_one(own_nats_server: NatsServer) -> None:
    async with Workers(own_nats_server) as workers:
        a, b = await workers.join(), await workers.join()
        a.receive_429(A, 30.0, "long")
        assert await b.paused_s(A, 20.0) <= 30.3
        b.receive_429(A, 2.0, "short")
        await asyncio.sleep(0.2)
        late = await workers.join()
        assert 20.0 < await late.paused_s(A, 20.0) <= 30.3
        b.receive_429(A, 300.0, "longer")
        assert await a.paused_s(A, 200.0) <= 300.3


async def test_c4_keys_of_one_group_are_paused_together(own_nats_server: NatsServer) -> None:
    async with Workers(own_nats_server, one_group=True) as workers:
        a, b = await workers.join(), await workers.join()
        a.receive_429(A, 60.0)
        assert a.quota.wait_s(B, Need(1), _now_s()) > 50
        assert await b.paused_s(B, 50.0) <= 60.3


async def test_c4_a_pause_is_announced_when_nats_is_back(own_nats_server: NatsServer) -> None:
    async with Workers(own_nats_server) as workers:
        a, b = await workers.join(), await workers.join()
        own_nats_server.kill()
        a.receive_429(A, 60.0)
        assert a.quota.wait_s(A, Need(1), _now_s()) > 50, "this worker pauses at once"
        await own_nats_server.start()
        await b.paused_s(A, 30.0, within_s=30.0)


async def test_c4_events_that_are_not_valid_pauses_are_ignored(own_nats_server: NatsServer) -> None:
    async with Workers(own_nats_server) as workers:
        a, b = await workers.join(), await workers.join()
        unknown = QuotaPaused(
            worker="x", provider="p", model="free", credential="UNKNOWN", until_ms=60_000, at_ms=0
        )
        for data in (
            b"",
            bytes(range(256)),
            b"[" * 100_000,
            b'{"type":"quota_paused"}',
            codec.encode(unknown),
        ):
            await a.publish_event(data)
        a.receive_429(A, 60.0)
        assert await b.paused_s(A, 50.0) <= 60.3
        assert b.quota.wait_s(B, Need(1), _now_s()) == 0


async def test_c4_when_a_pause_ends_each_worker_sends_one_request_first(
    own_nats_server: NatsServer,
) -> None:
    async with Workers(own_nats_server) as workers:
        a, b = await workers.join(), await workers.join()
        a.receive_429(A, 0.7)
        await b.paused_s(A, 0.1)
        await asyncio.sleep(0.8)
        for quota in (a.quota, b.quota):
            first = quota.try_acquire(A, Need(1), _now_s())
            assert isinstance(first, Permit)
            assert isinstance(quota.try_acquire(A, Need(1), _now_s()), Denied)
            quota.settle(first, 1, _now_s())
            assert isinstance(quota.try_acquire(A, Need(1), _now_s()), Permit)


@pytest.mark.parametrize("digits", [13, 20, 310, 400])
async def test_c4_a_forged_event_pauses_no_longer_than_an_hour(
    own_nats_server: NatsServer, digits: int
) -> None:
    """The event is stored for 30 days: a worker that starts later reads it too."""
    forged = QuotaPaused(
        worker="other",
        provider="p",
        model=A.model,
        credential=A.credential,
        until_ms=10**digits,
        at_ms=1,
        reason="forged",
    )
    async with Workers(own_nats_server) as workers:
        running = await workers.join()
        await running.publish_event(codec.encode(forged))
        assert 3_500 < await running.paused_s(A, 1.0) <= 3_600
        late = await workers.join()
        assert 3_500 < late.quota.wait_s(A, Need(1), _now_s()) <= 3_600
        assert running.quota.forecast(A, _now_s()).paused_s <= 3_600
