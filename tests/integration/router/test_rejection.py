"""D7: a request rejected by a full mailbox ends, but no other request with its id does, also in a race."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from penstock.bus.clock import SYSTEM
from penstock.bus.connection import ConnectionEvents, connect
from penstock.bus.ids import new_id
from penstock.bus.stored_replies import acknowledged_replies, acknowledged_with_sequence
from penstock.bus.write_check import StreamNotWritable, not_writable, publish_checked
from penstock.cli.local.nats_server import NatsServer
from penstock.contract import codec
from penstock.contract.reply import Failed, ReplyEvent, Started
from penstock.contract.streams import JOBS, REPLIES
from penstock.runtime.consumer.delivery import Redeliver
from penstock.runtime.epochs import DeliveryEpochs
from penstock.runtime.jobs.completion import failure_of
from penstock.runtime.jobs.store import JobStore
from penstock.runtime.jobs.transitions import failed_at, queued_job
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from penstock.runtime.provisioning.write_probe import WriteProbe
from penstock.runtime.reply_publisher import publish_after, publish_terminal_live
from penstock.runtime.service import Bus
from services.router.budget.releases import NO_HOLDS
from services.router.jobs.recorder import JobRecorder
from services.router.rejection import Rejecter
from services.router.routing.outcome import Rejected, Routed
from tests.harness.nats.failing_disk import make_stream_unwritable
from tests.harness.requests.routed_requests import chat_work, routed
from tests.harness.suite.waiting import until


@asynccontextmanager
async def connected(server: NatsServer) -> AsyncIterator[Bus]:
    nc = await connect(server.url, name="refusing")
    js = nc.jetstream()
    await ensure(js, JetStreamPlan(roles=(), ack_wait_s=10))
    yield Bus(nc, js, ConnectionEvents(), DeliveryEpochs(nc))
    await nc.close()


@pytest.fixture
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with connected(nats_server) as bus:
        yield bus


@pytest.fixture
def request_of() -> Routed:
    return routed(chat_work(id=new_id()))


def begun(wanted: Routed) -> Started:
    return Started(id=wanted.work.id, seq=100, attempt=1, model="m", provider="p", worker="w", at_ms=9)


async def store_event(bus: Bus, wanted: Routed, event: ReplyEvent) -> None:
    await bus.js.publish(wanted.work.reply_to.subject, codec.encode(event))


async def reject(bus: Bus, wanted: Routed) -> None:
    """Reject the request as the router does for a full mailbox, after it has published `accepted`."""
    rejecter = Rejecter(bus, JobRecorder(bus, SYSTEM), NO_HOLDS)
    await bus.nc.publish(wanted.work.reply_to.subject, codec.encode(wanted.accepted))
    full = Rejected(
        code="overloaded", message="full", reply_to=wanted.work.reply_to, seq=1, accepted=wanted.accepted
    )
    assert await rejecter.reject(full, wanted.work.reply_to, {}, redelivered=False) is None


async def stored(bus: Bus, wanted: Routed) -> list[ReplyEvent]:
    return (await acknowledged_with_sequence(bus.nc, wanted.work.reply_to.subject))[0]


async def test_d7_a_full_mailbox_is_reported_after_accepted(bus: Bus, request_of: Routed) -> None:
    await reject(bus, request_of)
    accepted, failed = await stored(bus, request_of)
    assert accepted == request_of.accepted
    assert isinstance(failed, Failed)
    assert (failed.seq, failed.error.code) == (1, "overloaded")


async def test_d7_a_full_mailbox_ends_no_other_request_of_the_same_id(bus: Bus, request_of: Routed) -> None:
    first = replace(request_of, accepted=replace(request_of.accepted, at_ms=7))
    await store_event(bus, first, first.accepted)
    await reject(bus, request_of)
    await store_event(bus, first, begun(first))
    await reject(bus, request_of)
    assert not any(isinstance(event, Failed) for event in await stored(bus, request_of))


async def test_d7_a_request_begun_between_read_and_write_continues(bus: Bus, request_of: Routed) -> None:
    subject = request_of.work.reply_to.subject
    await store_event(bus, request_of, request_of.accepted)
    _, last = await acknowledged_with_sequence(bus.nc, subject)
    await store_event(bus, request_of, begun(request_of))
    end = Failed(id=request_of.work.id, seq=1, error=failure_of("overloaded", "full"))
    assert not await publish_after(bus.js, subject, end, last)
    assert len(await stored(bus, request_of)) == 2


async def test_d7_an_end_that_is_sent_without_acknowledgement_is_stored_once_and_ends_no_begun_request(
    bus: Bus, request_of: Routed
) -> None:
    """As while a router has not noticed yet that `LLM_REPLIES` can be written again."""
    subject = request_of.work.reply_to.subject
    end = Failed(id=request_of.work.id, seq=1, error=failure_of("overloaded", "full"))
    await store_event(bus, request_of, request_of.accepted)
    _, last = await acknowledged_with_sequence(bus.nc, subject)
    for _ in range(2):
        await publish_terminal_live(bus.nc, subject, end, last)
    assert await stored(bus, request_of) == [request_of.accepted, end]
    other = routed(chat_work(id=new_id()))
    subject = other.work.reply_to.subject
    await store_event(bus, other, begun(other))
    await publish_terminal_live(bus.nc, subject, replace(end, id=other.work.id), 0)
    assert await stored(bus, other) == [begun(other)]


@pytest.mark.parametrize("known", [True, False])
async def test_d7_the_end_of_a_dead_letter_is_repeated_until_its_stream_can_be_written(
    own_nats_server: NatsServer, request_of: Routed, known: bool
) -> None:
    """`known`: the router has found before that `LLM_REPLIES` cannot be written."""
    address = request_of.work.reply_to
    failure = failure_of("undeliverable", "delivered 5 times without a verdict")
    async with connected(own_nats_server) as bus:
        await store_event(bus, request_of, request_of.accepted)
        await make_stream_unwritable(own_nats_server, REPLIES)
        if known:
            with pytest.raises(StreamNotWritable):
                await publish_checked(
                    bus.js, REPLIES.probe_subject, b"", stream=REPLIES.name, headers={}, timeout_s=3
                )
        rejecter = Rejecter(bus, JobRecorder(bus, SYSTEM), NO_HOLDS)
        ending = asyncio.create_task(rejecter.end_dead_letter(address, failure, None))
        await asyncio.wait((ending,), timeout=3)
        assert not_writable(bus.js) == {REPLIES.name}
        assert not ending.done(), "the end would be lost"
        await own_nats_server.restart()
        await asyncio.wait_for(ending, 15)
        assert await stored(bus, request_of) == [
            request_of.accepted,
            Failed(id=address.id, seq=1, error=failure),
        ]


@pytest.mark.parametrize("recorded_by", ["router", "redrive"])
async def test_d7_a_recorded_job_is_delivered_again_until_its_end_can_be_recorded(
    own_nats_server: NatsServer, recorded_by: str
) -> None:
    work = chat_work(id=new_id(), lane="batch", deadline_ms=SYSTEM.unix_ms() + 60_000)
    job = queued_job(work, SYSTEM.unix_ms())
    record = job if recorded_by == "router" else replace(job, deadline_ms=None)
    refused = Rejected(code="budget_exceeded", message="no budget", reply_to=work.reply_to, job=job)
    async with connected(own_nats_server) as bus:
        jobs = JobStore(bus.js)
        await jobs.advance(work.reply_to, lambda _: record)
        await make_stream_unwritable(own_nats_server, JOBS)
        rejecter = Rejecter(bus, JobRecorder(bus, SYSTEM), NO_HOLDS)
        for _ in range(2):  # found by the rejection, and known before it
            async with asyncio.timeout(3):
                verdict = await rejecter.reject(refused, work.reply_to, {}, redelivered=True)
            assert isinstance(verdict, Redeliver)
        assert await acknowledged_replies(bus.nc, work.reply_to.subject) == []
        await own_nats_server.restart()
        await until(lambda: bus.nc.is_connected)
        await WriteProbe(bus.js, (JOBS,), ()).probe()
        assert await rejecter.reject(refused, work.reply_to, {}, redelivered=True) is None
        ended = await jobs.read(work.reply_to)
        assert ended is not None
        assert ended.error is not None
        assert (ended.state, ended.error.code) == ("failed", "budget_exceeded")
        assert await acknowledged_replies(bus.nc, work.reply_to.subject) == [failed_at(ended)]


async def test_d7_the_end_of_a_dead_lettered_job_is_recorded_when_its_stream_can_be_written(
    own_nats_server: NatsServer,
) -> None:
    work = chat_work(id=new_id(), lane="batch", deadline_ms=SYSTEM.unix_ms() + 60_000)
    job = queued_job(work, SYSTEM.unix_ms())
    failure = failure_of("undeliverable", "delivered 5 times without a verdict")
    async with connected(own_nats_server) as bus:
        jobs = JobStore(bus.js)
        await jobs.advance(work.reply_to, lambda _: job)
        await make_stream_unwritable(own_nats_server, JOBS)
        rejecter = Rejecter(bus, JobRecorder(bus, SYSTEM), NO_HOLDS)
        ending = asyncio.create_task(rejecter.end_dead_letter(work.reply_to, failure, job))
        await asyncio.wait((ending,), timeout=3)
        assert not_writable(bus.js) == {JOBS.name}
        assert not ending.done(), "the job would stay queued"
        await own_nats_server.restart()
        await asyncio.wait_for(ending, 15)
        ended = await jobs.read(work.reply_to)
        assert ended is not None
        assert (ended.state, ended.error) == ("failed", failure)
        assert await acknowledged_replies(bus.nc, work.reply_to.subject) == [failed_at(ended)]
