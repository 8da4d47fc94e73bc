"""F2: usage that JetStream does not store is kept, up to a number of events, until it is stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import nats.errors
import pytest
from prometheus_client import CollectorRegistry

from penstock.contract.reply import Usage
from penstock.runtime.accounting.usage_events import AttemptRecord, usage_message_id
from services.worker.accounting.kept_usage import KeptUsage, UsageToStore
from services.worker.metrics import WorkerMetrics
from tests.unit.worker.worker_parts import catalogue_of, usage_events_of, work


class Storage:
    """Refuses these attempt numbers."""

    def __init__(self, *refused: int) -> None:
        self.refused = set(refused)
        self.stored: list[int] = []

    async def store(self, usage: UsageToStore) -> None:
        await asyncio.sleep(0)
        if usage.event.attempt in self.refused:
            raise nats.errors.TimeoutError
        self.stored.append(usage.event.attempt)


class Scene:
    def __init__(self, storage: Storage, most: int) -> None:
        self.registry = CollectorRegistry()
        metrics = WorkerMetrics(self.registry)
        self.kept = KeptUsage(storage.store, metrics, most=most, pause_s=0.001)

    def keep(self, number: int) -> UsageToStore:
        usage = Usage(input_tokens=10, output_tokens=number)
        record = AttemptRecord(number=number, model="m", credential="A_KEY", outcome="completed", usage=usage)
        event = usage_events_of(catalogue_of()).of(work(), record, at_ms=1, worker="w")
        kept = UsageToStore(event, None)
        self.kept.keep(kept)
        return kept

    def value(self, metric: str) -> float | None:
        return self.registry.get_sample_value(metric)


@asynccontextmanager
async def scene_of(storage: Storage, most: int = 10) -> AsyncIterator[Scene]:
    scene = Scene(storage, most)
    yield scene
    await scene.kept.drain(0)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.001)


async def test_f2_everything_is_stored_once_storage_is_back() -> None:
    storage = Storage(1, 2, 3)
    async with scene_of(storage) as scene:
        for number in (1, 2, 3):
            scene.keep(number)
        await asyncio.sleep(0.01)
        assert scene.value("penstock_usage_events_kept") == 3
        storage.refused.clear()
        await until(lambda: scene.value("penstock_usage_events_kept") == 0)
    assert sorted(storage.stored) == [1, 2, 3]
    assert scene.value("penstock_usage_events_lost_total") == 0


async def test_f2_an_event_that_is_always_refused_holds_up_no_other() -> None:
    storage = Storage(1)
    async with scene_of(storage) as scene:
        for number in (1, 2, 3):
            scene.keep(number)
        await until(lambda: storage.stored == [2, 3])
        assert scene.value("penstock_usage_events_kept") == 1


async def test_f2_the_oldest_event_is_lost_when_too_many_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    storage = Storage(1, 2, 3)
    async with scene_of(storage, most=2) as scene:
        for number in (1, 2, 3):
            scene.keep(number)
        assert scene.value("penstock_usage_events_lost_total") == 1
        assert '"output_tokens":1,' in caplog.text
        storage.refused.clear()
        await until(lambda: storage.stored == [2, 3])


async def test_f2_an_event_that_was_taken_is_left_to_its_taker() -> None:
    storage = Storage(1)
    async with scene_of(storage) as scene:
        kept = scene.keep(1)
        message_id = usage_message_id(kept.event)
        assert scene.kept.take(message_id) is kept
        assert scene.kept.take(message_id) is None
        assert scene.value("penstock_usage_events_kept") == 0


async def test_f2_the_exit_waits_for_storage_that_comes_back() -> None:
    storage = Storage(1)
    scene = Scene(storage, most=10)
    scene.keep(1)
    draining = asyncio.create_task(scene.kept.drain(within_s=10))
    await asyncio.sleep(0.005)
    storage.refused.clear()
    await draining
    assert storage.stored == [1]
    assert scene.value("penstock_usage_events_lost_total") == 0
