"""D10: a call that NATS does not serve raises a PenstockError that says why, whether to retry, and when."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import psutil
import pytest
from msgspec import Raw
from nats.errors import OutboundBufferLimitError

from penstock import Client, NotAccepted, PenstockError, ResultGone, StoreUnavailable
from penstock.bus.tracing import NO_TRACER
from penstock.client.stream import Stream, StreamedRequest
from penstock.client.timings import ClientTimings
from penstock.contract import codec, subjects
from penstock.contract.jobs import Job
from penstock.contract.request import ChatRequest
from penstock.contract.streams import RESULTS
from penstock.errors import BrokerUnreachable, NoReply, UnknownJob
from tests.harness.suite.waiting import until
from tests.integration.client.gateway import Gateway
from tests.integration.client.timings import with_timings

LOST = "the connection to NATS is lost, and the client is connecting again"
SILENT = "NATS does not answer"
MISSING = "no stream answers"


async def read(events) -> list[Any]:
    return [event async for event in events]


async def stream(client: Client) -> list[Any]:
    async with client.stream("x", timeout_s=1) as events:
        return await read(events)


READS: dict[str, Callable[[Client], Awaitable[Any]]] = {
    "job": lambda client: client.job("some-id"),
    "jobs": lambda client: client.jobs(),
    "result": lambda client: client.result("some-id"),
}
WRITES: dict[str, Callable[[Client], Awaitable[Any]]] = {
    "submit": lambda client: client.submit("x"),
    "chat": lambda client: client.chat("x", timeout_s=1),
    "stream": stream,
}
RESUMES: dict[str, Callable[[Client], Awaitable[Any]]] = {
    "own": lambda client: read(client.resume("some-id", timeout_s=1)),
    "after": lambda client: read(client.resume("some-id", after_seq=3, timeout_s=1)),
    "another's": lambda client: read(client.resume("some-id", client="another", timeout_s=1)),
}


async def outcomes(client: Client, calls: dict[str, Callable[[Client], Awaitable[Any]]]) -> dict[str, Any]:
    """What each call returns or raises; all are made at once."""
    found = await asyncio.gather(*(call(client) for call in calls.values()), return_exceptions=True)
    return dict(zip(calls, found, strict=True))


async def check(client: Client, why: str, resumed: type[PenstockError]) -> None:
    """Every call raises an error that says `why` and when to try again."""
    impatient = with_timings(client, submit_s=0.5, silence_s=0.2)
    reads, writes, resumes = await asyncio.gather(
        *(outcomes(impatient, calls) for calls in (READS, WRITES, RESUMES))
    )
    for call, error in reads.items():
        assert type(error) is StoreUnavailable, call
        assert f"cannot be read: {why}" in str(error), call
        assert str(error).endswith("Try again in 5 s"), call
    for call, error in writes.items():
        assert type(error) is NotAccepted, call
        assert f"JetStream did not accept the request: {why}" in str(error), call
        assert str(error).endswith("Send it again in 5 s"), call
    for call, error in resumes.items():
        assert type(error) is resumed, call
        assert f"cannot be read: {why}" in str(error), call
    for error in (*reads.values(), *writes.values()):
        assert (error.retry, error.retry_after_s) == ("later", 5)
    assert {error.retry for error in resumes.values()} == {"later"}


@pytest.fixture
async def connected(own_nats_server, unique):
    """A client of a server that has the streams."""
    gateway = Gateway(own_nats_server.url, unique)
    await gateway.open()
    await gateway.close()
    async with await Client.connect(own_nats_server.url, account=unique) as client:
        yield client


async def test_d10_every_call_says_that_the_connection_is_lost(own_nats_server, connected):
    own_nats_server.kill()
    await until(lambda: not connected._nc.is_connected)
    await check(connected, LOST, NoReply)
    await connected.cancel("some-id")  # sent when the connection is back


async def test_d10_every_call_says_that_the_server_does_not_answer(own_nats_server, connected):
    server = psutil.Process(own_nats_server.pid)
    os.kill(server.pid, signal.SIGSTOP)
    await until(lambda: server.status() == psutil.STATUS_STOPPED)
    connecting = asyncio.create_task(Client.connect(own_nats_server.url))
    await check(connected, SILENT, NoReply)
    await connected.cancel("some-id")
    async with asyncio.timeout(20):
        await connected.close()
    with pytest.raises(BrokerUnreachable, match=r"start one .* and connect again"):
        await connecting


async def test_d10_a_stream_gives_up_after_its_time_for_the_acknowledgement(own_nats_server, connected):
    own_nats_server.kill()
    await until(lambda: not connected._nc.is_connected)
    streamed = StreamedRequest(
        nc=connected._nc,
        subscription=connected._subscription,
        request=ChatRequest(id="some-id", client=connected._subscription.client_name, body=Raw(b"{}")),
        timeout_s=60,
        timings=ClientTimings(),
        tracer=NO_TRACER,
        cancel_on_exit=False,
        submit_s=0.5,
    )
    async with asyncio.timeout(10):
        with pytest.raises(NotAccepted):
            async with Stream(streamed):
                pass


async def test_d10_every_call_says_that_the_stream_is_missing(own_nats_server):
    async with await Client.connect(own_nats_server.url) as client:
        await check(client, MISSING, StoreUnavailable)
        with pytest.raises(StoreUnavailable, match=r"Check that this NATS server has .* the stream LLM_JOBS"):
            await client.job("some-id")
        await client.cancel("some-id")


async def test_d10_a_client_works_again_after_the_server_was_away(own_nats_server, connected):
    own_nats_server.kill()
    await until(lambda: not connected._nc.is_connected)
    with pytest.raises(StoreUnavailable):
        await connected.jobs()
    await own_nats_server.start()
    await until(lambda: connected._nc.is_connected)
    job_id = await connected.submit("x")
    assert await connected.jobs() == []
    with pytest.raises(UnknownJob):  # no router has recorded it
        await connected.job(job_id)


async def fill_the_buffer(client: Client) -> None:
    """Publish until the lost connection keeps no further message, however small."""
    for size in (8_000_000, 1_000_000, 100_000, 10_000, 1000, 100, 1):
        with contextlib.suppress(OutboundBufferLimitError):
            while True:
                await client._nc.publish("x", b"." * size)


async def test_d8_a_cancel_that_cannot_be_sent_is_an_error(own_nats_server, connected):
    own_nats_server.kill()
    await until(lambda: not connected._nc.is_connected)
    await fill_the_buffer(connected)
    with pytest.raises(NotAccepted, match=f"request some-id was not cancelled: {LOST}"):
        await connected.cancel("some-id")


async def test_d8_leaving_a_stream_keeps_the_error_of_the_application(own_nats_server, connected, caplog):
    """Its cancel cannot be sent."""

    async def work() -> None:
        async with connected.stream("x") as events:
            own_nats_server.kill()
            await until(lambda: not connected._nc.is_connected)
            await fill_the_buffer(connected)
            raise ZeroDivisionError(events.id)

    with pytest.raises(ZeroDivisionError) as caught:
        await work()
    assert f"request {caught.value} was not cancelled" in caplog.text


@pytest.fixture
async def completed(connected) -> Job:
    """The record of a completed job, whose result is not stored."""
    job = Job(
        id="some-id",
        client="another",
        account=connected._subscription.account,
        role="chat",
        state="completed",
        at_ms=2,
        submitted_ms=1,
        attempt=1,
        result_bytes=9,
    )
    await connected._nc.jetstream().publish(subjects.job(*job.reply_to), codec.encode(job))
    return job


async def test_e4_a_result_that_is_not_readable_is_gone(connected, completed):
    js = connected._nc.jetstream()
    await js.publish(subjects.result(*completed.reply_to, completed.attempt), b"junk")
    with pytest.raises(ResultGone, match=r"job some-id .* is not a result .*Submit the job again") as caught:
        await connected.result("some-id")
    assert caught.value.retry == "never"


async def test_e4_a_result_is_not_gone_while_its_stream_is_missing(connected, completed):
    with pytest.raises(ResultGone):
        await connected.result("some-id")
    await connected._nc.jetstream().delete_stream(RESULTS.name)
    with pytest.raises(
        StoreUnavailable, match=rf"the answer of job some-id cannot be read: .*the stream {RESULTS.name}"
    ):
        await connected.result("some-id")
