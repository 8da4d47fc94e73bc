"""F2: what an attempt used is stored, whoever stops waiting for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from penstock.bus.clock import SYSTEM
from penstock.bus.publish import StreamFull
from penstock.contract.codec import EVENT
from penstock.contract.events import UsageRecorded
from penstock.contract.reply import Usage
from services.worker.accounting.usage_recorder import AttemptRecord, UsageRecorder
from services.worker.metrics import WorkerMetrics
from tests.unit.worker.parts import catalogue_of, work


class _Ack:
    duplicate = False


class SlowStream:
    """Stores when it is let."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.asked = 0
        self.stored: list[bytes] = []
        self.refuses: Exception | None = None

    async def publish(self, _subject: str, payload: bytes, **_: Any) -> _Ack:
        self.asked += 1
        await self.opened.wait()
        if self.refuses is not None:
            raise self.refuses
        self.stored.append(payload)
        return _Ack()


@pytest.fixture
def stream() -> SlowStream:
    return SlowStream()


@pytest.fixture
def recorder(stream: SlowStream) -> UsageRecorder:
    js: Any = stream
    return UsageRecorder(js, catalogue_of(), WorkerMetrics(CollectorRegistry()), SYSTEM, "w")


def _attempt(number: int = 1) -> AttemptRecord:
    usage = Usage(input_tokens=10, output_tokens=number)
    return AttemptRecord(number=number, model="m", credential="A_KEY", outcome="completed", usage=usage)


async def _asked(stream: SlowStream, times: int) -> None:
    while stream.asked < times:
        await asyncio.sleep(0)


async def test_a_handler_cancelled_at_the_drain_leaves_its_usage_to_be_stored_f2(
    recorder: UsageRecorder, stream: SlowStream
) -> None:
    request = work()

    async def handle() -> None:
        recorder.record(request, _attempt())
        try:
            await recorder.wait_stored(request)
        finally:
            recorder.release(request)

    handler = asyncio.create_task(handle())
    await _asked(stream, 1)
    handler.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handler

    draining = asyncio.create_task(recorder.drain(within_s=10))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not draining.done(), "the drain waits for what was spent"
    stream.opened.set()
    await draining
    recorded = [EVENT.decode(each) for each in stream.stored]
    assert [each.output_tokens for each in recorded if isinstance(each, UsageRecorded)] == [1]


async def test_every_attempt_is_stored_before_the_work_is_acknowledged_f2(
    recorder: UsageRecorder, stream: SlowStream
) -> None:
    request = work()
    for number in (1, 2):
        recorder.record(request, _attempt(number))
    waiting = asyncio.create_task(recorder.wait_stored(request))
    await _asked(stream, 2)
    assert not waiting.done()
    stream.opened.set()
    await waiting
    assert len(stream.stored) == 2


async def test_what_could_not_be_stored_is_an_error_of_whoever_waits_f2(
    recorder: UsageRecorder, stream: SlowStream
) -> None:
    request = work()
    recorder.record(request, _attempt())
    stream.refuses = StreamFull("no room")
    stream.opened.set()
    with pytest.raises(StreamFull):
        await recorder.wait_stored(request)
    await recorder.wait_stored(request)  # told once: the next delivery records anew


async def test_requests_do_not_wait_for_the_usage_of_one_another_f2(
    recorder: UsageRecorder, stream: SlowStream
) -> None:
    recorder.record(work(id="slow"), _attempt())
    await _asked(stream, 1)
    await asyncio.wait_for(recorder.wait_stored(work(id="other")), 1)
    stream.opened.set()
    await recorder.drain(within_s=10)
