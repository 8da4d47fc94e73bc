"""F2: the usage of an attempt is stored even if its request is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import nats.errors
import pytest
from msgspec import structs
from prometheus_client import CollectorRegistry

from penstock.bus.clock import SYSTEM
from penstock.bus.publish import StreamFull
from penstock.contract.codec import EVENT
from penstock.contract.events import UsageRecorded
from penstock.contract.reply import Usage
from penstock.contract.work import ChatWork
from penstock.runtime.accounting.usage_events import AttemptRecord
from services.worker.accounting.usage_recorder import UsageRecorder
from services.worker.metrics import WorkerMetrics
from services.worker.pending_events import PendingEvents
from tests.unit.worker.worker_parts import catalogue_of, usage_events_of, work


class SlowStream:
    """In place of `store`: a stream that stores once `opened` is set."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.published = 0
        self.stored: list[bytes] = []
        self.error: Exception | None = None

    async def store(self, _js: object, _subject: str, payload: bytes, *, timeout_s: float, **_: Any) -> bool:
        self.published += 1
        try:
            async with asyncio.timeout(timeout_s):
                await self.opened.wait()
        except TimeoutError:
            raise nats.errors.TimeoutError from None
        if self.error is not None:
            raise self.error
        self.stored.append(payload)
        return True


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> SlowStream:
    made = SlowStream()
    monkeypatch.setattr("services.worker.accounting.usage_recorder.store", made.store)
    return made


@pytest.fixture
def pending() -> PendingEvents:
    no_connection: Any = None
    return PendingEvents(no_connection)


@pytest.fixture
async def recorder(pending: PendingEvents) -> AsyncIterator[UsageRecorder]:
    metrics = WorkerMetrics(CollectorRegistry())
    made = UsageRecorder(pending, usage_events_of(catalogue_of()), metrics, SYSTEM, "w")
    yield made
    await made.drain(0)


def _attempt(number: int = 1) -> AttemptRecord:
    usage = Usage(input_tokens=10, output_tokens=number)
    return AttemptRecord(number=number, model="m", credential="A_KEY", outcome="completed", usage=usage)


async def _published(stream: SlowStream, times: int) -> None:
    async with asyncio.timeout(5):
        while stream.published < times:
            await asyncio.sleep(0)


async def test_f2_the_usage_of_a_cancelled_handler_is_stored_by_the_drain(
    recorder: UsageRecorder, stream: SlowStream, pending: PendingEvents
) -> None:
    request = work()

    async def handle() -> None:
        recorder.record(request, _attempt())
        try:
            await recorder.wait_stored(request)
        finally:
            recorder.release(request)

    handler = asyncio.create_task(handle())
    await _published(stream, 1)
    handler.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handler

    draining = asyncio.create_task(pending.drain(within_s=10))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not draining.done(), "the drain waits for the event"
    stream.opened.set()
    await draining
    recorded = [EVENT.decode(each) for each in stream.stored]
    assert [each.output_tokens for each in recorded if isinstance(each, UsageRecorded)] == [1]


async def test_f2_every_attempt_is_stored_before_the_work_is_acknowledged(
    recorder: UsageRecorder, stream: SlowStream
) -> None:
    request = work()
    for number in (1, 2):
        recorder.record(request, _attempt(number))
    waiting = asyncio.create_task(recorder.wait_stored(request))
    await _published(stream, 2)
    assert not waiting.done()
    stream.opened.set()
    await waiting
    assert len(stream.stored) == 2


async def test_f2_a_failure_to_store_is_logged_and_raised_to_the_handler(
    recorder: UsageRecorder, stream: SlowStream, caplog: pytest.LogCaptureFixture
) -> None:
    request = work()
    recorder.record(request, _attempt())
    stream.error = StreamFull("no room")
    stream.opened.set()
    with pytest.raises(StreamFull):
        await recorder.wait_stored(request)
    assert "no room" in caplog.text
    assert '"usage_recorded"' in caplog.text
    await recorder.wait_stored(request)  # raised once: the next delivery records again


async def test_f2_a_request_waits_for_its_own_usage_only(
    recorder: UsageRecorder, stream: SlowStream, pending: PendingEvents
) -> None:
    recorder.record(work(id="slow"), _attempt())
    await _published(stream, 1)
    await asyncio.wait_for(recorder.wait_stored(work(id="other")), 1)
    stream.opened.set()
    await pending.drain(within_s=10)


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


async def _fail_to_store(recorder: UsageRecorder, stream: SlowStream, request: ChatWork) -> None:
    recorder.record(request, _attempt())
    stream.error = StreamFull("no room")
    stream.opened.set()
    with pytest.raises(StreamFull):
        await recorder.wait_stored(request)
    recorder.release(request)


def _usage_of(stream: SlowStream) -> list[tuple[str, int]]:
    events = [EVENT.decode(each) for each in stream.stored]
    return [(each.outcome, each.output_tokens) for each in events if isinstance(each, UsageRecorded)]


async def test_f2_usage_of_a_request_that_was_given_back_is_stored_once_there_is_room(
    recorder: UsageRecorder, stream: SlowStream
) -> None:
    await _fail_to_store(recorder, stream, work())
    stream.error = None
    await _until(lambda: bool(stream.stored))
    assert _usage_of(stream) == [("completed", 1)]


async def test_f2_a_redelivered_request_keeps_the_usage_that_its_provider_reported(
    recorder: UsageRecorder, stream: SlowStream
) -> None:
    request = work()
    await _fail_to_store(recorder, stream, request)
    stream.error = None
    estimate = AttemptRecord(
        number=1, model="m", credential="unknown", outcome="worker_lost", usage=Usage(input_tokens=10)
    )
    recorder.record(request, estimate)
    await recorder.wait_stored(request)
    assert _usage_of(stream) == [("completed", 1)], "the estimate is not stored before it"


async def test_f2_an_estimate_does_not_overtake_usage_that_is_still_being_stored(
    recorder: UsageRecorder, stream: SlowStream
) -> None:
    request = work()
    recorder.record(request, _attempt())
    await _published(stream, 1)
    recorder.release(request)
    recorder.record(request, structs.replace(_attempt(), outcome="worker_lost"))
    waiting = asyncio.create_task(recorder.wait_stored(request))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done(), "the work is not acknowledged before its usage is stored"
    stream.opened.set()
    await waiting
    assert _usage_of(stream) == [("completed", 1)]


async def test_f2_usage_that_is_still_not_stored_at_the_exit_is_logged(
    recorder: UsageRecorder, stream: SlowStream, caplog: pytest.LogCaptureFixture
) -> None:
    await _fail_to_store(recorder, stream, work())
    caplog.clear()
    await recorder.drain(within_s=0.01)
    assert "the worker stops" in caplog.text
    assert '"usage_recorded"' in caplog.text


async def test_f2_a_request_whose_usage_is_stored_late_is_not_given_back(
    recorder: UsageRecorder, stream: SlowStream
) -> None:
    """It would be answered, and paid for, again. A frozen nats-server acknowledges nothing for as long."""
    request = work()
    recorder.record(request, _attempt())
    waiting = asyncio.create_task(recorder.wait_stored(request))
    await asyncio.sleep(150)
    assert not waiting.done()
    stream.opened.set()
    await waiting
    assert len(stream.stored) == 1
