"""D6, E4: a job without a work message ends after its deadline; a job in flight or before its deadline does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import nats.errors
import pytest

from penstock.bus.clock import SYSTEM
from penstock.bus.connection import ConnectionEvents, close, connect
from penstock.bus.direct_get import Page, read_page
from penstock.bus.stored_replies import stored_replies
from penstock.cli.local.nats_server import NatsServer
from penstock.contract import headers, subjects
from penstock.contract.channels import CHANNELS
from penstock.contract.codec import encode
from penstock.contract.jobs import Job, JobState
from penstock.contract.reply import Completed, Delta, Failed, Started, first_seq
from penstock.contract.streams import RESULTS, WORK
from penstock.runtime.accounting.usage_events import UsageEvents
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.epochs import DeliveryEpochs
from penstock.runtime.jobs.store import JobStore
from penstock.runtime.pricing import PriceTable
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from penstock.runtime.service import Bus
from services.router.budget.releases import NO_HOLDS
from services.router.expiry.lost_usage import LostUsage
from services.router.expiry.request_end import RequestEnder
from services.router.jobs import orphan_reaper
from services.router.jobs.orphan_reaper import OrphanReaper, is_overdue
from tests.harness.suite.waiting import until


def ender_of(bus: Bus) -> RequestEnder:
    catalogue = Catalogue(name="c", providers={}, models={}, roles={})
    usage = UsageEvents(catalogue, PriceTable(catalogue.models))
    return RequestEnder(bus, NO_HOLDS, LostUsage(bus, catalogue, usage, SYSTEM), SYSTEM)


class Scene:
    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.jobs = JobStore(bus.js)
        self.reaper = OrphanReaper(bus, ender_of(bus), SYSTEM)

    async def write(self, name: str, state: JobState, late_s: float, work_seq: int = 0) -> Job:
        now_ms = SYSTEM.unix_ms()
        job = Job(
            id=name,
            client="c",
            account="a",
            role="chat",
            state=state,
            at_ms=now_ms,
            submitted_ms=now_ms - 100_000,
            deadline_ms=now_ms - round(late_s * 1000),
            attempt=int(state == "running"),
            work_seq=work_seq,
        )
        await self.jobs.advance(job.reply_to, lambda _: job)
        return job

    async def put(self, name: str) -> int:
        """Publish a work message of the job; returns its sequence number."""
        sent = {headers.REPLY_SUBJECT: subjects.reply("a", "c", name)}
        ack = await self.bus.js.publish(subjects.work("chat", "batch", 0, "f"), b"{}", headers=sent)
        return ack.seq

    async def code(self, job: Job) -> str | None:
        stored = await self.jobs.read(job.reply_to)
        assert stored is not None
        return None if stored.error is None else stored.error.code


@pytest.fixture
async def scene(own_nats_server: NatsServer) -> AsyncIterator[Scene]:
    nc = await connect(own_nats_server.url, name="lost")
    await ensure(nc.jetstream(), JetStreamPlan(roles=(), ack_wait_s=10))
    yield Scene(Bus(nc, nc.jetstream(), ConnectionEvents(), DeliveryEpochs(nc)))
    await close(nc)


async def test_d6_an_orphaned_job_past_its_deadline_ends_and_others_do_not(
    scene: Scene,
) -> None:
    held = await scene.write("held", "running", 60, await scene.put("held"))
    gone_seq = await scene.put("gone")
    gone = await scene.write("gone", "running", 60, gone_seq)
    await scene.bus.js.delete_msg(WORK.name, gone_seq)
    never_begun = await scene.write("never", "queued", 60)
    in_time = await scene.write("time", "running", -60, gone_seq)
    just_late = await scene.write("late", "queued", 1)

    assert await scene.reaper.reap() == 2
    assert [await scene.code(job) for job in (gone, never_begun)] == ["deadline_exceeded"] * 2
    assert [await scene.code(job) for job in (held, in_time, just_late)] == [None] * 3
    (event,) = await stored_replies(scene.bus.nc, gone.reply_to.subject)
    assert isinstance(event, Failed)
    assert await scene.reaper.reap() == 0, "once"
    assert len(await stored_replies(scene.bus.nc, gone.reply_to.subject)) == 1


async def test_e4_the_router_stores_the_answer_of_a_job_whose_record_lags(
    scene: Scene,
) -> None:
    job, first = await scene.write("done", "running", 60), first_seq(1)
    events = (
        Started(id="done", seq=first, attempt=1, model="m", provider="p", worker="w", at_ms=1),
        Delta(id="done", seq=first + 1, attempt=1, text="answer"),
        Completed(
            id="done",
            seq=first + 2,
            attempt=1,
            role="chat",
            model="m",
            provider="p",
            finish_reason="stop",
        ),
    )
    for event in events:
        await scene.bus.js.publish(job.reply_to.subject, encode(event))

    assert await scene.reaper.reap() == 1
    ended = await scene.jobs.read(job.reply_to)
    assert ended is not None
    result = await scene.jobs.result(ended)
    assert result is not None
    assert result.text == "answer"
    (channel,) = (each for each in CHANNELS if each.stream == RESULTS.name)
    assert "router" in channel.producers


async def test_d6_a_reused_sequence_of_a_recreated_stream_keeps_no_job_alive(scene: Scene) -> None:
    job = await scene.write("old", "running", 60, await scene.put("another"))
    assert await scene.reaper.reap() == 1
    assert await scene.code(job) == "deadline_exceeded"


async def test_d6_orphans_ended_per_page_are_bounded(scene: Scene) -> None:
    for number in range(150):
        await scene.write(f"j{number}", "queued", 60)
    assert [await scene.reaper.reap() for _ in range(3)] == [100, 50, 0]


async def test_d6_the_reaper_reads_page_after_page_in_spite_of_errors(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [nats.errors.NoServersError(), TimeoutError(), ValueError("a bug")]

    async def read(*args: Any, **options: Any) -> Page:
        if faults:
            raise faults.pop()
        return await read_page(*args, **options)

    monkeypatch.setattr(orphan_reaper, "read_page", read)

    async def ended(job: Job) -> bool:
        return await scene.code(job) is not None

    reaper = OrphanReaper(scene.bus, ender_of(scene.bus), SYSTEM, every_s=0.01)
    reaper.start()
    first = await scene.write("first", "queued", 60)
    await until(lambda: ended(first))
    second = await scene.write("second", "queued", 60)
    await until(lambda: ended(second))
    await reaper.stop()


def test_d6_a_job_without_a_deadline_is_overdue_after_the_longest_wait() -> None:
    job = Job(id="i", client="c", account="a", role="chat", state="queued", at_ms=0, submitted_ms=0)
    assert not is_overdue(job, 24 * 3600 * 1000)
    assert is_overdue(job, 10**12)
