"""E4: the records of jobs on a real server: compare-and-set, the limit of their number, foreign messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import nats
import pytest
from msgspec.structs import replace
from nats.aio.client import Client as Nats

from penstock.bus.publish import StreamFull
from penstock.cli.local.nats_server import NatsServer
from penstock.client.jobs import JobReader
from penstock.contract import subjects
from penstock.contract.jobs import Job, JobResult
from penstock.contract.reply import Completed, Failed, Failure
from penstock.contract.streams import JOBS, RESULTS
from penstock.errors import RequestFailed, ResultGone, UnknownJob
from penstock.runtime.jobs.store import JobStore
from penstock.runtime.jobs.transitions import ended_record, next_record
from penstock.runtime.provisioning.ensure import stream_config

ROOM = 3


def job(number: int, **more: object) -> Job:
    queued = Job(
        id=f"id-{number}",
        client="c",
        account="demo",
        role="chat",
        state="queued",
        at_ms=1,
        submitted_ms=1,
        deadline_ms=9,
    )
    return replace(queued, **more)


def failed(of: Job) -> Job:
    failure = Failure(code="internal", message="a longer record than the one it replaces " * 5, retry="later")
    return ended_record(of, Failed(id=of.id, seq=1, error=failure), 5)


@pytest.fixture
async def nc(own_nats_server: NatsServer) -> AsyncIterator[Nats]:
    connected = await nats.connect(own_nats_server.url)
    for stream in (replace(JOBS, max_messages=ROOM), RESULTS):
        await connected.jetstream().add_stream(stream_config(stream))
    yield connected
    await connected.close()


async def write(jobs: JobStore, wanted: Job) -> bool:
    return (await jobs.advance(wanted.reply_to, lambda stored: next_record(stored, wanted))).written


async def test_at_the_limit_new_jobs_are_rejected_and_known_ones_continue(nc: Nats):
    jobs = JobStore(nc.jetstream())
    for number in range(ROOM):
        assert await write(jobs, job(number))
    with pytest.raises(StreamFull):
        await write(jobs, job(ROOM))
    for number in range(ROOM):
        assert await write(jobs, job(number, state="running", attempt=1))
        assert await write(jobs, failed(job(number)))
    assert {each.state for each in await JobReader(nc, "demo").list_all()} == {"failed"}


async def test_one_of_many_concurrent_ends_is_stored_and_returned_to_all(nc: Nats):
    jobs = JobStore(nc.jetstream())
    await write(jobs, job(1))
    ends = [replace(failed(job(1)), worker=f"w-{number}") for number in range(8)]
    writes = await asyncio.gather(
        *(jobs.advance(end.reply_to, lambda stored, end=end: next_record(stored, end)) for end in ends)
    )
    assert sum(each.written for each in writes) == 1
    assert len({each.job.worker for each in writes if each.job}) == 1


async def test_a_foreign_message_is_not_a_record_and_is_overwritten(
    nc: Nats, caplog: pytest.LogCaptureFixture
):
    jobs = JobStore(nc.jetstream())
    await nc.jetstream().publish(subjects.job("demo", "c", "id-1"), b"\xff rubbish")
    assert await JobReader(nc, "demo").list_all() == []
    assert f"{subjects.job('demo', 'c', 'id-1')} holds a payload that is not a job record" in caplog.text
    with pytest.raises(UnknownJob):
        await JobReader(nc, "demo").get("id-1")
    assert await write(jobs, job(1))
    assert await JobReader(nc, "demo").get("id-1") == job(1)


async def test_a_result_is_read_while_stored_and_reported_when_gone(nc: Nats):
    jobs, reading = JobStore(nc.jetstream()), JobReader(nc, "demo")
    event = Completed(id="id-1", seq=7, attempt=2, role="chat", model="m", provider="p", finish_reason="stop")
    assert await reading.result(job(1)) is None
    size = await jobs.store_result(job(1).reply_to, JobResult(completed=event, text="streamed"))
    done = ended_record(job(1), event, 5, size)
    reply = await reading.result(done)
    assert reply is not None
    assert (reply.text, reply.attempts) == ("streamed", 2)
    await nc.jetstream().purge_stream(RESULTS.name)
    with pytest.raises(ResultGone, match="the store was full"):
        await reading.result(done)
    with pytest.raises(ResultGone, match="exceeded the message limit"):
        await reading.result(ended_record(job(1), event, 5, 0))
    with pytest.raises(RequestFailed):
        await reading.result(failed(job(1)))


async def test_an_answer_larger_than_a_message_is_not_kept(nc: Nats):
    event = Completed(id="id-1", seq=7, attempt=1, role="chat", model="m", provider="p", finish_reason="stop")
    result = JobResult(completed=event, text="x" * (8 * 1024 * 1024))
    assert await JobStore(nc.jetstream()).store_result(job(1).reply_to, result) == 0


async def test_e4_an_end_is_written_after_an_outage_of_the_server(nc: Nats, own_nats_server: NatsServer):
    jobs = JobStore(nc.jetstream())
    await write(jobs, job(1, state="running", attempt=1))
    own_nats_server.kill()
    ending = asyncio.create_task(write(jobs, failed(job(1, attempt=1))))
    await asyncio.sleep(6.0)
    assert not ending.done(), "nats-py alone gives up after five seconds"
    await own_nats_server.start()
    assert await ending
    assert (await JobReader(nc, "demo").get("id-1")).state == "failed"
