"""C1, C4: two workers' quotas on a real nats-server."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from nats.aio.client import Client as Nats

from penstock.bus.clock import SYSTEM
from penstock.bus.connection import ConnectionEvents, connect
from penstock.bus.ids import new_id
from penstock.cli.local.nats_server import NatsServer
from penstock.contract import codec
from penstock.contract.quota import QuotaRecord
from penstock.contract.streams import QUOTA
from penstock.runtime.config.catalogue import Batch, Limits
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from services.worker.rate_limit.quota import Denied, Need, Observation, Permit, QuotaKey
from services.worker.rate_limit.record.lease_settings import LeaseSettings
from services.worker.rate_limit.shared.nats_store import NatsRecordStore
from services.worker.rate_limit.shared.replica import Member
from services.worker.rate_limit.shared.shared_quota import SharedQuota

KEY = QuotaKey("SOME_KEY", "some-model")
LEASE_SETTINGS = LeaseSettings(lease_ms=1500, grace_ms=200)


class Sharer:
    """One worker: its connection and its quota."""

    def __init__(self, nc: Nats, quota: SharedQuota, granted: asyncio.Event) -> None:
        self.nc, self.quota, self._granted = nc, quota, granted

    async def acquire(self, tokens: int = 0, within_s: float = 5.0) -> Permit | Denied:
        """Ask until a permit is granted, or denied for a reason that a lease cannot change."""
        clock_s = asyncio.get_running_loop().time
        give_up_s = clock_s() + within_s
        while True:
            got = self.quota.try_acquire(KEY, Need(tokens), clock_s())
            if isinstance(got, Permit) or clock_s() > give_up_s:
                return got
            self._granted.clear()
            try:
                async with asyncio.timeout(0.05):
                    await self._granted.wait()
            except TimeoutError:
                continue

    async def drain(self, within_s: float = 1.0) -> list[Permit]:
        """All permits that can be acquired."""
        found = []
        while isinstance(got := await self.acquire(within_s=within_s), Permit):
            found.append(got)
        return found

    async def crash(self) -> None:
        """Close the connection without returning the lease."""
        for renewer in self.quota._by_record.values():
            await renewer._loop.stop()


Join = Callable[[str], Awaitable[Sharer]]


@asynccontextmanager
async def sharing(
    server: NatsServer, limits: Limits, *, repairs: bool = True
) -> AsyncIterator[Callable[[str], Awaitable[Sharer]]]:
    record = f"test.{new_id()}"
    joined: list[Sharer] = []

    async def join(name: str) -> Sharer:
        nc = await connect(server.url, name=name, events=ConnectionEvents())
        js = nc.jetstream()
        await ensure(js, JetStreamPlan(roles=("chat",), ack_wait_s=10.0))
        granted = asyncio.Event()

        async def repair() -> None:
            if repairs:
                await ensure(js, JetStreamPlan(roles=("chat",), ack_wait_s=10.0))

        store = NatsRecordStore(nc, js, repair)
        member = Member(name, random.random, SYSTEM.unix_s, granted.set)
        quota = SharedQuota(
            {KEY: limits}, {KEY: record}, member, store, batch=Batch(), settings=LEASE_SETTINGS
        )
        await store.watch(quota.observe)
        await quota.start()
        joined.append(Sharer(nc, quota, granted))
        return joined[-1]

    try:
        yield join
    finally:
        for sharer in joined:
            await sharer.quota.stop()
            await sharer.nc.close()


def _now_s() -> float:
    return asyncio.get_running_loop().time()


async def _until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.002)


async def test_c1_two_workers_share_one_limit_and_use_all_of_it(nats_server: NatsServer) -> None:
    async with sharing(nats_server, Limits(requests_per_minute=40)) as join:
        sharers = [await join("a"), await join("b")]
        found = await asyncio.gather(*(sharer.drain() for sharer in sharers))
        assert sum(len(permits) for permits in found) == 40
        assert all(found), "each worker got some permits"
        assert sharers[0].quota.try_acquire(KEY, Need(0), _now_s()) == Denied()
        assert 50 < sharers[0].quota.wait_s(KEY, Need(0), _now_s()) < 62


async def test_c1_most_requests_need_no_write(nats_server: NatsServer) -> None:
    """Two workers make two thousand requests, a thousand a second if the machine allows, below the limit; the server
    counts the writes.
    """
    async with sharing(nats_server, Limits(requests_per_minute=1_000_000, concurrency=1000)) as join:
        sharers = [await join("a"), await join("b")]
        for sharer in sharers:
            assert isinstance(await sharer.acquire(), Permit)
        js = sharers[0].nc.jetstream()
        before = (await js.stream_info(f"KV_{QUOTA.name}")).state.last_seq
        count, refused = 0, 0
        while count < 2_000:
            for sharer in sharers:
                got = sharer.quota.try_acquire(KEY, Need(0), _now_s())
                if isinstance(got, Permit):
                    count += 1
                    sharer.quota.settle(got, 0, _now_s())
                else:
                    refused += 1
            await asyncio.sleep(0.002)
        writes = (await js.stream_info(f"KV_{QUOTA.name}")).state.last_seq - before
        assert refused < 0.05 * count
        assert writes < 0.1 * count


async def test_c1_returned_quota_serves_the_other_worker(nats_server: NatsServer) -> None:
    async with sharing(nats_server, Limits(concurrency=2, tokens_per_minute=1000)) as join:
        a, b = await join("a"), await join("b")
        first, second = await a.acquire(400), await a.acquire(400)
        assert isinstance(first, Permit)
        assert isinstance(second, Permit)
        assert isinstance(await b.acquire(400, within_s=0.5), Denied)
        a.quota.settle(first, 10, _now_s())
        assert isinstance(await b.acquire(400, within_s=1.0), Permit)


async def test_c1_the_slots_of_a_dead_worker_are_free_when_its_lease_ends(nats_server: NatsServer) -> None:
    async with sharing(nats_server, Limits(concurrency=3)) as join:
        dead, alive = await join("dead"), await join("alive")
        assert isinstance(await dead.acquire(), Permit)
        assert isinstance(await dead.acquire(), Permit)
        # A slot leased for a further call is returned when no call comes.
        await _until(lambda: [use.used for use in alive.quota.usage(KEY, _now_s())] == [2])
        await dead.crash()
        began_s = _now_s()
        assert isinstance(await alive.acquire(), Permit)
        assert isinstance(await alive.acquire(within_s=0.3), Denied)
        assert isinstance(await alive.acquire(), Permit)
        assert 0.5 < _now_s() - began_s < 4.0


async def test_c4_one_429_pauses_every_worker_within_50_ms(nats_server: NatsServer) -> None:
    async with sharing(nats_server, Limits(requests_per_minute=100)) as join:
        a, b = await join("a"), await join("b")
        assert isinstance(await a.acquire(), Permit)
        assert isinstance(await b.acquire(), Permit)
        took_s = []
        for longer_s in (40.0, 60.0, 80.0, 100.0, 120.0):
            began_s = _now_s()
            a.quota.pause(KEY, began_s + longer_s, "429: come back later")
            until_s = began_s + longer_s - 10
            await _until(lambda until_s=until_s: b.quota.wait_s(KEY, Need(0), _now_s()) > until_s - _now_s())
            took_s.append(_now_s() - began_s)
        assert b.quota.try_acquire(KEY, Need(0), _now_s()) == Denied()
        assert b.quota.wait_s(KEY, Need(0), _now_s()) == pytest.approx(began_s + 120.0 - _now_s(), abs=0.05)
        (renewer,) = b.quota._by_record.values()
        assert renewer.view.record.pause_reason == "429: come back later"
        assert statistics.median(took_s) < 0.05, "single deliveries may be slower on a busy machine"


async def test_c4_a_header_counts_for_every_worker(nats_server: NatsServer) -> None:
    async with sharing(nats_server, Limits(tokens_per_minute=10_000)) as join:
        a, b = await join("a"), await join("b")
        assert isinstance(await a.acquire(100), Permit)
        assert isinstance(await b.acquire(100), Permit)
        observation = Observation(kind="tokens", window="minute", limit=10_000, remaining=50, reset_s=30.0)
        a.quota.correct(KEY, observation, _now_s())
        await _until(lambda: b.quota.wait_s(KEY, Need(5000), _now_s()) > 20, within_s=1.0)


async def test_c1_without_the_bucket_requests_wait_and_no_quota_is_lost(own_nats_server: NatsServer) -> None:
    async with sharing(own_nats_server, Limits(requests_per_minute=20), repairs=False) as join:
        sharers = [await join("a"), await join("b")]
        for sharer in sharers:
            assert isinstance(await sharer.acquire(), Permit)
        js = sharers[0].nc.jetstream()
        await asyncio.sleep(2.0)  # both know each other, have reported, and have returned their leases
        await js.delete_stream(f"KV_{QUOTA.name}")
        found = await asyncio.gather(*(sharer.drain(within_s=3.0) for sharer in sharers))
        assert found == [[], []]
        assert all(sharer.quota.unreachable_records for sharer in sharers), (
            "the quotas report the unreachable record"
        )
        await ensure(js, JetStreamPlan(roles=("chat",), ack_wait_s=10.0))
        for sharer in sharers:
            await _until(lambda sharer=sharer: sharer.quota.unreachable_records == ())
        found = await asyncio.gather(*(sharer.drain(within_s=1.0) for sharer in sharers))
        assert sum(len(permits) for permits in found) == 18, "20 in all, less the 2 before"
        entry = await (await js.key_value(QUOTA.name)).get((await (await js.key_value(QUOTA.name)).keys())[0])
        record = codec.QUOTA.decode(entry.value or b"")
        assert sum(grain[1] for grain in record.minute) + sum(lease.requests for lease in record.leases) >= 20


async def test_d9_a_stop_while_nats_is_frozen_is_bounded_and_writes_later(
    own_nats_server: NatsServer,
) -> None:
    async with sharing(own_nats_server, Limits(requests_per_minute=20)) as join:
        leaving, staying = await join("leaving"), await join("staying")
        assert isinstance(await leaving.acquire(), Permit)
        assert own_nats_server.pid is not None
        os.kill(own_nats_server.pid, signal.SIGSTOP)
        try:
            began_s = _now_s()
            await leaving.quota.stop(0.2)
            assert _now_s() - began_s < 0.8, "the limit of a write is one second"
        finally:
            os.kill(own_nats_server.pid, signal.SIGCONT)
        await _until(lambda: staying.quota.unreachable_records == ())
        assert len(await staying.drain(within_s=3.0)) >= 15, (
            "the server received its last write, and reads it now"
        )


async def test_c1_d9_a_lease_not_returned_because_nats_is_down_counts_as_spent(
    own_nats_server: NatsServer,
) -> None:
    """Its lease may be spent without a report: to other workers it looks like a killed one."""
    async with sharing(own_nats_server, Limits(requests_per_minute=20)) as join:
        leaving, staying = await join("leaving"), await join("staying")
        for _ in range(4):
            assert isinstance(await leaving.acquire(), Permit)
        renewer = leaving.quota._by_record[leaving.quota.record(KEY)]
        await _until(lambda: _held(renewer.view.record, "leaving") > 0)
        own_nats_server.kill()
        await leaving.quota.stop(0.2)
        held = _held(renewer.view.record, "leaving")
        assert held > 0
        await own_nats_server.start()
        await _until(lambda: staying.quota.unreachable_records == ())
        found = len(await staying.drain(within_s=3.0))
        record = staying.quota._by_record[staying.quota.record(KEY)].view.record
        assert record is not None
        assert all(lease.holder != "leaving" for lease in record.leases), "its lease has ended"
        assert sum(grain[1] for grain in record.minute) >= found + held
        assert 0 < found <= 20 - held


def _held(record: QuotaRecord | None, holder: str) -> int:
    return 0 if record is None else sum(each.requests for each in record.leases if each.holder == holder)


async def test_c1_spending_survives_the_server_and_every_worker(own_nats_server: NatsServer) -> None:
    async with sharing(own_nats_server, Limits(requests_per_minute=10)) as join:
        first = await join("first")
        assert len(await first.drain(within_s=0.5)) == 10
        await first.quota.stop()
        own_nats_server.kill()
        await own_nats_server.start()
        second = await join("second")
        assert await second.drain(within_s=0.5) == []
