"""G4: the time limit of a detector counts its own work, and not its waits behind others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from penstock.contract.guard.checks import CheckedText
from services.guard.classifier.batching import BatchingEncoder
from services.guard.classifier.encoder import Vectors
from services.guard.detectors.fair_threads import FairThreads
from services.guard.detectors.local import ThreadedDetector
from services.guard.detectors.run import DetectorRunner
from services.guard.detectors.work_time import WorkTimeout, current_timeout, waits
from services.guard.metrics import GuardMetrics
from tests.harness.providers.marking_detectors import Marks


async def test_g4_only_the_time_between_waits_counts():
    async with WorkTimeout(1.0):
        await asyncio.sleep(0.6)
        with waits():
            await asyncio.sleep(60)
        await asyncio.sleep(0.3)
    assert current_timeout() is None


async def test_g4_work_after_a_wait_still_has_a_limit():
    loop = asyncio.get_running_loop()
    began_s = loop.time()

    async def work() -> None:
        async with WorkTimeout(1.0):
            await asyncio.sleep(0.6)
            with waits():
                await asyncio.sleep(10)
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        await work()
    assert loop.time() - began_s == pytest.approx(11.0, abs=0.01)


async def test_g4_without_a_limit_waits_are_as_any_other_time():
    async with WorkTimeout(None):
        with waits():
            await asyncio.sleep(60)
    with waits():
        await asyncio.sleep(60)


@pytest.mark.real_time
async def test_g4_a_check_that_waits_for_the_thread_of_another_one_loses_no_time():
    threads, begun, go_on = FairThreads(1, "test"), threading.Event(), threading.Event()

    def steps() -> Iterator[None]:
        begun.set()
        go_on.wait(10)
        yield

    other = asyncio.create_task(threads.run(steps()))
    await asyncio.to_thread(begun.wait)
    detector = ThreadedDetector(Marks("secrets", "jwt"), threads)
    runner = DetectorRunner([detector], {"secrets": 0.3}, GuardMetrics(CollectorRegistry()))
    asked = asyncio.create_task(runner.run(["secrets"], [CheckedText(text="<jwt:x>" + "x" * 20_000)]))
    await asyncio.sleep(0.6)
    go_on.set()
    outcome = await asyncio.wait_for(asked, 10)
    await other
    threads.close()
    assert outcome.failures == {}
    assert [len(found.findings) for found in outcome.detections] == [1]


@pytest.mark.real_time
async def test_g4_a_text_that_waits_for_the_batch_of_another_one_loses_no_time(encoder):
    batching, begun, go_on = BatchingEncoder(encoder), threading.Event(), threading.Event()

    def rate(texts: Sequence[str]) -> Vectors:
        begun.set()
        go_on.wait(10)
        return np.zeros((len(texts), 1), dtype=np.float32)

    other = asyncio.create_task(batching.run(rate, ["a"]))
    await asyncio.to_thread(begun.wait)

    async def limited(limit_s: float) -> int:
        async with WorkTimeout(limit_s):
            return len(await batching.run(rate, ["b"]))

    asked = asyncio.create_task(limited(0.3))
    await asyncio.sleep(0.6)
    go_on.set()
    assert await asyncio.wait_for(asked, 10) == 1
    await other
    go_on.clear()
    with pytest.raises(TimeoutError):
        await limited(0.2)
    go_on.set()
    await batching.close()
