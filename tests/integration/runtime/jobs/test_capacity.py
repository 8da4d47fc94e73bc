"""E4: at the limit, ended jobs are removed for new ones, and one account cannot take the space of the others."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import nats
import pytest
from msgspec.structs import replace
from nats.aio.client import Client as Nats

from penstock.bus.clock import Clock
from penstock.bus.publish import StreamFull
from penstock.cli.local.nats_server import NatsServer
from penstock.client.jobs import JobReader
from penstock.contract import subjects
from penstock.contract.jobs import Job
from penstock.contract.reply import Failed
from penstock.contract.streams import JOBS
from penstock.runtime.jobs.capacity import BoundedJobStore
from penstock.runtime.jobs.completion import fail_job
from penstock.runtime.jobs.transitions import next_record
from penstock.runtime.provisioning.ensure import stream_config
from tests.integration.runtime.jobs.test_store import failed, job

MOST = 20
HALF = MOST // 2


class SmallStore(BoundedJobStore):
    """A small store with a clock that the test sets."""

    def __init__(self, nc: Nats) -> None:
        self.now_s = 1000.0
        super().__init__(nc, Clock(lambda: self.now_s, lambda: self.now_s), MOST)

    async def write(self, wanted: Job) -> None:
        """Advance the clock and write the next state of the job."""
        self.now_s += 10
        assert (await self.advance(wanted.reply_to, lambda stored: next_record(stored, wanted))).written


def refusal(of: Job) -> Failed:
    error = failed(of).error
    assert error is not None
    return Failed(id=of.id, seq=0, error=error)


def of(account: str, number: int, **more: object) -> Job:
    return job(number, account=account, **more)


@pytest.fixture
async def nc(own_nats_server: NatsServer) -> AsyncIterator[Nats]:
    connected = await nats.connect(own_nats_server.url)
    await connected.jetstream().add_stream(stream_config(replace(JOBS, max_messages=MOST)))
    yield connected
    await connected.close()


async def states(nc: Nats, account: str) -> Counter[str]:
    return Counter(each.state for each in await JobReader(nc, account).list_all())


async def test_e4_ended_jobs_are_removed_for_new_ones(nc: Nats):
    store = SmallStore(nc)
    for number in range(5 * MOST):
        await store.write(of("demo", number))
        await store.write(failed(of("demo", number)))
    known = await JobReader(nc, "demo").list_all()
    assert len(known) <= HALF
    assert known[-1].id == f"id-{5 * MOST - 1}", "the newest jobs are kept"


async def test_e4_an_account_at_its_half_is_rejected_and_others_are_not(nc: Nats):
    store = SmallStore(nc)
    for number in range(HALF):
        await store.write(of("greedy", number))
    for number in range(HALF, 3 * HALF):
        with pytest.raises(StreamFull):
            await store.write(of("greedy", number))
    for number in range(HALF):
        await store.write(of("modest", number))
    assert await states(nc, "greedy") == await states(nc, "modest") == {"queued": HALF}
    await store.write(failed(of("greedy", 0)))
    await store.write(of("greedy", HALF))
    assert (await states(nc, "greedy"))["queued"] == HALF


async def test_e4_rejected_requests_displace_no_other_accounts_jobs(nc: Nats):
    store = SmallStore(nc)
    await store.write(failed(of("modest", 0)))
    for number in range(5 * MOST):
        bad = of("greedy", number)
        store.now_s += 10
        await fail_job(store, refusal(bad), 5, known=None, record_if_none=bad)
    await store.write(of("modest", 1))
    assert await states(nc, "modest") == {"failed": 1, "queued": 1}
    assert 0 < (await states(nc, "greedy"))["failed"] <= HALF
    await store.write(of("greedy", 5 * MOST))


async def test_e4_the_account_with_most_ended_jobs_loses_some(nc: Nats):
    store = SmallStore(nc)
    await store.write(failed(of("quiet", 0)))
    for number in range(HALF):
        await store.write(failed(of("busy", number)))
    for number in range(MOST - HALF - 1):
        await store.write(of(f"waits-{number % 3}", number))
    for number in range(HALF - 1):
        await store.write(of("new", number))
    assert await states(nc, "quiet") == {"failed": 1}
    assert await states(nc, "busy") == {"failed": 1}
    assert await states(nc, "new") == {"queued": HALF - 1}


async def test_e4_a_known_job_can_be_updated_in_a_full_stream(nc: Nats):
    """No queued job is removed, the reserved record of a redrive is kept, and a job can end."""
    store = SmallStore(nc)
    promise = of("demo", 0, deadline_ms=None)
    await store.write(promise)
    for account in ("demo", "other"):
        for number in range(1 if account == "demo" else 0, HALF):
            await store.write(of(account, number))
    with pytest.raises(StreamFull):
        await store.write(of("third", 0))
    await store.write(of("demo", 0))
    await store.write(of("demo", 1, state="running", attempt=1))
    assert sum((await states(nc, "demo")).values()) == HALF
    assert sum((await states(nc, "other")).values()) == HALF


async def test_e4_many_routers_at_the_limit_exceed_it_only_slightly(nc: Nats):
    stores = [SmallStore(nc) for _ in range(3)]
    for number in range(HALF):
        await stores[0].write(failed(of("demo", number)))
    await nc.jetstream().publish(subjects.job("other", "c", "rubbish"), b"\xff")

    async def write_jobs(store: SmallStore, which: int) -> None:
        for number in range(30):
            wanted = of("demo", 1000 * which + number)
            try:
                await store.write(wanted)
            except StreamFull:
                continue
            await store.write(failed(wanted))

    await asyncio.gather(*(write_jobs(store, which) for which, store in enumerate(stores, 1)))
    info = await nc.jetstream().stream_info(JOBS.name)
    assert info.state.messages <= MOST
    assert await states(nc, "demo") == {"failed": info.state.messages - 1}
