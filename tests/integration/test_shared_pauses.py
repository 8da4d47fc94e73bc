"""C4: a 429 of a model without a limit of ours pauses every worker, those too that start later."""

from __future__ import annotations

import asyncio
import random
from typing import Self

import pytest

from penstock.bus.connection import Reconnects, connect
from penstock.bus.ids import new_id
from penstock.cli.local.nats_server import NatsServer
from penstock.runtime.config.catalogue import Batch, Limits
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from services.worker.rate_limit.quota import Denied, Need, Permit, QuotaKey
from services.worker.rate_limit.shared.nats_store import RecordStore
from services.worker.rate_limit.shared.shared_quota import SharedQuota

A, B = QuotaKey("A_KEY", "free"), QuotaKey("B_KEY", "free")


_TOLD_S = 2.0
"""Within milliseconds; a machine that is busy with something else may take this long."""


def _now_s() -> float:
    return asyncio.get_running_loop().time()


class Workers:
    """Each with a connection and a quota of its own, on records of this test's own."""

    def __init__(self, server: NatsServer, *, one_group: bool = False) -> None:
        self._server = server
        name = new_id()
        self._records = {A: f"a.{name}", B: f"a.{name}" if one_group else f"b.{name}"}
        self._joined: list[tuple[object, SharedQuota]] = []

    async def join(self) -> SharedQuota:
        nc = await connect(self._server.url, name="test", reconnects=Reconnects())
        js = nc.jetstream()
        await ensure(js, JetStreamPlan(roles=("chat",), ack_wait_s=10.0))

        async def repair() -> None:
            await ensure(js, JetStreamPlan(roles=("chat",), ack_wait_s=10.0))

        quota = SharedQuota({A: Limits(), B: Limits()}, self._records, new_id(), random.random, batch=Batch())
        store = RecordStore(nc, js, repair)
        await store.watch(quota.observe)
        await quota.start(store, lambda: None)
        self._joined.append((nc, quota))
        return quota

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for nc, quota in self._joined:
            await quota.stop()
            await nc.close()


async def _paused_s(quota: SharedQuota, key: QuotaKey, at_least_s: float) -> float:
    """How long `key` is paused, once it is."""
    async with asyncio.timeout(_TOLD_S):
        while (wait_s := quota.wait_s(key, Need(1), _now_s())) < at_least_s:
            await asyncio.sleep(0.005)
    return wait_s


async def test_a_429_of_one_pauses_all_and_one_that_starts_later_c4(nats_server: NatsServer) -> None:
    async with Workers(nats_server) as workers:
        a, b = await workers.join(), await workers.join()
        began_s = _now_s()
        a.pause(A, began_s + 120.0, "429: come back later")
        left_s = await _paused_s(b, A, 100.0)
        assert left_s == pytest.approx(began_s + 120 - _now_s(), abs=0.3)
        denied = b.try_acquire(A, Need(1), _now_s())
        assert isinstance(denied, Denied)
        assert (denied.limit, denied.why) == ("paused", "429: come back later")
        assert isinstance(b.try_acquire(B, Need(1), _now_s()), Permit), "another key is another quota"
        late = await workers.join()
        assert late.wait_s(A, Need(1), _now_s()) == pytest.approx(began_s + 120 - _now_s(), abs=0.5)
        assert late.wait_s(B, Need(1), _now_s()) == 0


async def test_a_shorter_pause_does_not_shorten_a_longer_one_for_anybody_c4(nats_server: NatsServer) -> None:
    async with Workers(nats_server) as workers:
        a, b = await workers.join(), await workers.join()
        now_s = _now_s()
        a.pause(A, now_s + 30.0, "long")
        b.pause(A, now_s + 2.0, "short")
        assert await _paused_s(b, A, 20.0) <= 30.3
        late = await workers.join()
        assert await _paused_s(late, A, 20.0) <= 30.3
        b.pause(A, _now_s() + 300.0, "longer")
        assert await _paused_s(a, A, 200.0) <= 300.3


async def test_keys_of_one_group_are_paused_together_c4(nats_server: NatsServer) -> None:
    async with Workers(nats_server, one_group=True) as workers:
        a, b = await workers.join(), await workers.join()
        a.pause(A, _now_s() + 60.0, "429")
        assert a.wait_s(B, Need(1), _now_s()) > 50
        assert await _paused_s(b, B, 50.0) <= 60.3


async def test_a_pause_is_told_when_nats_is_back_c4(own_nats_server: NatsServer) -> None:
    async with Workers(own_nats_server) as workers:
        a, b = await workers.join(), await workers.join()
        own_nats_server.kill()
        a.pause(A, _now_s() + 60.0, "429")
        assert a.wait_s(A, Need(1), _now_s()) > 50, "here at once"
        await own_nats_server.start()
        async with asyncio.timeout(30):
            while b.wait_s(A, Need(1), _now_s()) < 30:
                await asyncio.sleep(0.05)


async def test_when_it_ends_one_goes_first_in_each_worker_c4(nats_server: NatsServer) -> None:
    async with Workers(nats_server) as workers:
        a, b = await workers.join(), await workers.join()
        a.pause(A, _now_s() + 0.7, "429")
        await _paused_s(b, A, 0.1)
        await asyncio.sleep(0.8)
        for quota in (a, b):
            first = quota.try_acquire(A, Need(1), _now_s())
            assert isinstance(first, Permit)
            assert isinstance(quota.try_acquire(A, Need(1), _now_s()), Denied)
            quota.settle(first, 1, _now_s())
            assert isinstance(quota.try_acquire(A, Need(1), _now_s()), Permit)
