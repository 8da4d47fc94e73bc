"""D8: leaving a stream cancels its request, unless the application detaches from it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import warnings
from collections.abc import Iterator

import pytest

from penstock.contract.reply import Completed, Delta, Failed
from penstock.errors import RequestTooLarge
from tests.harness.suite.waiting import until
from tests.integration.client.events import Events
from tests.integration.client.timings import with_timings

OPEN = "async with client.stream"


@pytest.fixture(autouse=True)
def two_deltas_and_no_end(gateway):
    async def script(request):
        events = Events(request.id)
        await gateway.send(request, events.accepted(), *events.begin(), *events.deltas("a", "b"))

    gateway.script = script


@contextlib.contextmanager
def issued_warnings() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        yield issued


async def leave(stream, way: str) -> None:
    async with stream:
        async for event in stream:
            if isinstance(event, Delta):
                if way == "break":
                    break
                if way == "raise":
                    raise ZeroDivisionError
                if way == "return":
                    return
                asyncio.current_task().cancel()


@pytest.mark.parametrize("way", ["break", "raise", "return", "cancel"])
async def test_d8_leaving_the_context_cancels_at_once(gateway, client, way):
    stream = client.stream("x")
    task = asyncio.create_task(leave(stream, way))
    with contextlib.suppress(ZeroDivisionError, asyncio.CancelledError):
        await task
    # The stream is still referenced, and so is the frame of the exception: nothing waits for the garbage collector.
    await until(lambda: gateway.cancelled == [stream.id])


async def test_d8_closing_a_stream_cancels(gateway, client):
    stream = client.stream("x")
    async for _ in stream:
        break
    await stream.aclose()
    await until(lambda: gateway.cancelled == [stream.id])


async def test_d8_cancelling_the_reading_task_cancels(gateway, client):
    stream = client.stream("x")

    async def read() -> None:
        async for _ in stream:
            pass

    task = asyncio.create_task(read())
    await until(lambda: len(gateway.requests) == 1)
    await asyncio.sleep(0.1)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await until(lambda: gateway.cancelled == [stream.id])


async def read_all(stream) -> list[type]:
    return [type(event) async for event in stream]


@pytest.fixture
def failed_when_cancelled(gateway):
    async def script(request):
        events = Events(request.id)
        await gateway.send(request, events.accepted(), *events.begin(), *events.deltas("a", "b"))
        await until(lambda: gateway.cancelled == [request.id])
        await gateway.send(request, events.failed())

    gateway.script = script


@pytest.mark.parametrize("error", [None, ZeroDivisionError("of the application")])
async def test_d8_leaving_while_another_task_reads_cancels(gateway, client, failed_when_cancelled, error):
    reading = []

    async def work() -> None:
        async with stream:
            reading.append(asyncio.create_task(read_all(stream)))
            await asyncio.sleep(0.2)
            if error is not None:
                raise error

    stream = client.stream("x")
    assert await asyncio.gather(work(), return_exceptions=True) == [error]
    assert (await reading[0])[-1] is Failed
    assert gateway.cancelled == [stream.id]


async def test_d8_closing_while_another_task_reads_cancels(gateway, client, failed_when_cancelled):
    stream = client.stream("x")
    reading = asyncio.create_task(read_all(stream))
    await asyncio.sleep(0.2)
    await stream.aclose()
    assert (await reading)[-1] is Failed
    assert gateway.cancelled == [stream.id]
    assert client._subscription._feeds == {}


async def test_d8_a_detached_stream_is_read_on_by_another_task(gateway, client):
    left = asyncio.Event()

    async def script(request):
        events = Events(request.id)
        await gateway.send(request, events.accepted(), *events.begin(), *events.deltas("a", "b"))
        await left.wait()
        await gateway.send(request, events.completed())

    gateway.script = script
    async with client.stream("x") as stream:
        reading = asyncio.create_task(read_all(stream))
        await asyncio.sleep(0.2)
        stream.detach()
    left.set()
    assert (await reading)[-1] is Completed
    assert gateway.cancelled == []


async def test_d8_a_stream_left_without_a_context_warns_and_cancels(gateway, client):
    with issued_warnings() as issued:
        async for _ in client.stream("x"):
            break
        await until(lambda: gateway.cancelled == [gateway.requests[0].id])
    assert OPEN in str(issued[0].message)
    assert issued[0].category is ResourceWarning


async def test_d8_an_exception_without_a_context_warns_and_cancels(gateway, client):
    async def read() -> None:
        async for _ in client.stream("x"):
            raise ZeroDivisionError

    with issued_warnings() as issued:
        with contextlib.suppress(ZeroDivisionError):
            await read()
        gc.collect()
        await until(lambda: gateway.cancelled == [gateway.requests[0].id])
    assert OPEN in str(issued[0].message)


@pytest.mark.filterwarnings("error")
async def test_d8_a_stream_read_to_its_end_does_not_warn(gateway, client):
    async def script(request):
        events = Events(request.id)
        await gateway.send(request, events.accepted(), *events.begin(), events.completed())

    gateway.script = script
    seen = [event async for event in client.stream("x")]
    async for event in client.stream("x"):
        if isinstance(event, Completed):
            break
    gc.collect()
    await asyncio.sleep(0.05)
    assert isinstance(seen[-1], Completed)
    assert gateway.cancelled == []


@pytest.mark.parametrize("how", ["detach", "cancel_on_exit"])
async def test_d8_a_detached_stream_is_left_running(gateway, client, how):
    async with client.stream("x", cancel_on_exit=how != "cancel_on_exit") as stream:
        async for _ in stream:
            if how == "detach":
                stream.detach()
            break
    await client._nc.flush()
    await asyncio.sleep(0.1)
    assert gateway.cancelled == []
    first = await anext(client.resume(stream.id))
    assert first.id == stream.id


@pytest.mark.filterwarnings("error")
async def test_d8_a_detached_stream_without_a_context_does_not_warn(gateway, client):
    stream = client.stream("x")
    async for _ in stream:
        stream.detach()
        break
    del stream
    gc.collect()
    await asyncio.sleep(0.05)
    assert gateway.cancelled == []


async def test_d8_entering_a_stream_sends_and_leaving_it_cancels(gateway, client):
    async with client.stream("x") as stream:
        await until(lambda: len(gateway.requests) == 1)
        assert gateway.cancelled == []
    await until(lambda: gateway.cancelled == [stream.id])


async def test_d8_a_stream_outside_a_context_is_sent_by_its_iteration(gateway, client):
    stream = client.stream("x")
    await client._nc.flush()
    await asyncio.sleep(0.05)
    assert gateway.requests == []
    await anext(aiter(stream))
    assert [request.id for request in gateway.requests] == [stream.id]
    await stream.aclose()


async def test_d8_an_entered_stream_is_sent_once_and_read_whole(gateway, client):
    async def script(request):
        events = Events(request.id)
        await gateway.send(
            request, events.accepted(), *events.begin(), *events.deltas("a"), events.completed()
        )

    gateway.script = script
    async with client.stream("x") as stream:
        await asyncio.sleep(0.1)  # the events arrive before they are read
        seqs = [event.seq async for event in stream]
        assert [event async for event in stream] == []
    assert seqs == [0, 1_000_000, 1_000_001, 1_000_002]
    assert len(gateway.requests) == 1
    assert gateway.cancelled == []
    assert client._subscription._feeds == {}


async def test_e1_a_stream_read_after_its_deadline_is_whole(gateway, client):
    async def script(request):
        events = Events(request.id, left_ms=0)
        await gateway.send(request, events.accepted(), *events.begin(), *events.deltas("a", "b"))
        await gateway.send(request, events.completed())

    gateway.script = script
    async with with_timings(client, grace_s=0).stream("x", timeout_s=0.2) as stream:
        await asyncio.sleep(0.4)
        read = [event async for event in stream]
    assert "".join(event.text for event in read if isinstance(event, Delta)) == "ab"
    assert isinstance(read[-1], Completed)


async def test_e2_a_stream_detached_before_its_first_event_is_resumed(gateway, client):
    async with client.stream("x") as stream:
        stream.detach()
    first = await anext(client.resume(stream.id, timeout_s=10))
    assert (first.id, first.seq) == (stream.id, 0)
    assert gateway.cancelled == []


async def test_k2_entering_a_stream_that_cannot_be_sent_raises(gateway, client):
    with pytest.raises(RequestTooLarge):
        async with client.stream("x" * 70_000_000):
            pytest.fail("the request was accepted")
    assert gateway.requests == []
    assert client._subscription._feeds == {}
