from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from penstock.contract.guard.checks import CheckedText, Finding
from services.guard.detectors.detector import DetectorUnavailable
from services.guard.detectors.fair_threads import FairThreads
from services.guard.detectors.local import ThreadedDetector
from services.guard.detectors.turns import turn_of
from services.guard.detectors.work_time import WorkTimeout
from tests.harness.providers.marking_detectors import Marks

pytestmark = pytest.mark.real_time


@pytest.fixture
def threads():
    found = FairThreads(1, "test")
    yield found
    found.close()


def texts(*given: str) -> list[CheckedText]:
    return [CheckedText(text=text) for text in given]


async def test_g1_matches_become_findings_of_their_text(threads):
    detector = ThreadedDetector(Marks("personal_data", "email"), threads)
    found = await detector.detect(texts("no", "an <email:x>"))
    assert found.findings == (
        Finding(text=1, start=3, end=12, category="personal_data", kind="email", detector="personal_data"),
    )


async def test_g2_only_long_texts_are_read_in_a_thread(threads):
    readers: list[threading.Thread] = []
    marks = Marks("secrets", "jwt", on_find=lambda _: readers.append(threading.current_thread()))
    detector = ThreadedDetector(marks, threads)
    await detector.detect(texts("short"))
    await detector.detect(texts("x" * 10_000, "y" * 10_000))
    assert readers[0] is threading.main_thread()
    assert all(reader is not threading.main_thread() for reader in readers[1:])


async def test_g4_a_short_text_that_takes_long_goes_on_in_a_thread(threads):
    readers: list[threading.Thread] = []

    def slow(_text: str) -> None:
        readers.append(threading.current_thread())
        time.sleep(0.003)

    detector = ThreadedDetector(Marks("secrets", "jwt", on_find=slow), threads)
    found = await detector.detect(texts(*["a <jwt:x>"] * 4))
    assert [each.text for each in found.findings] == [0, 1, 2, 3]
    assert readers[0] is threading.main_thread()
    assert all(reader is not threading.main_thread() for reader in readers[1:])


async def test_g2_what_was_found_before_the_detector_failed_counts(threads):
    def fail(text: str) -> None:
        if text == "fail":
            raise DetectorUnavailable("timeout")

    with pytest.raises(DetectorUnavailable, match="timeout") as unavailable:
        await ThreadedDetector(Marks("secrets", "jwt", on_find=fail), threads).detect(
            texts("<jwt:x>", "fail")
        )
    assert [each.kind for each in unavailable.value.found.findings] == ["jwt"]


async def test_g2_a_thread_stops_soon_after_its_check_was_given_up(threads):
    begun, read = threading.Event(), []

    def wait(text: str) -> None:
        read.append(text)
        begun.set()
        time.sleep(0.01)

    detector = ThreadedDetector(Marks("secrets", "jwt", on_find=wait), threads)
    asked = asyncio.create_task(detector.detect(texts(*["x" * 100] * 1_000)))
    await asyncio.to_thread(begun.wait)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await threads.run(iter([None]))  # when the thread has come to the end of its slice
    assert len(read) < 10


async def test_g4_a_small_check_waits_for_one_slice_of_each_other_account(threads):
    done: list[str] = []

    def step(text: str) -> None:
        done.append(text[0])
        time.sleep(0.005)

    detector = ThreadedDetector(Marks("secrets", "jwt", on_find=step), threads)

    async def check(account: str, count: int) -> None:
        with turn_of(account):
            await detector.detect(texts(*[account * 20_000] * count))

    large = [asyncio.create_task(check(account, 1_000)) for account in "aab"]
    while not done:
        await asyncio.sleep(0.001)
    began = len(done)
    await asyncio.wait_for(check("c", 3), 10)
    others = [each for each in done[began:] if each != "c"]
    assert len(others) <= 3 * 10, "two slices of each account, of about 20 ms, at most"
    for task in large:
        task.cancel()
    await asyncio.wait(large)


async def test_g4_a_waiting_check_that_is_given_up_leaves_its_turn_to_others(threads):
    begun, go_on = threading.Event(), threading.Event()

    def steps() -> Iterator[None]:
        begun.set()
        go_on.wait(10)
        yield

    running = asyncio.create_task(threads.run(steps()))
    await asyncio.to_thread(begun.wait)
    gone, stays = (asyncio.create_task(threads.run(iter([None]))) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    go_on.set()
    await asyncio.wait_for(asyncio.gather(running, stays), 10)
    assert gone.cancelled()
    await asyncio.wait_for(threads.run(iter([None])), 10)


@pytest.mark.parametrize("works", [True, False])
async def test_g4_only_work_counts_in_the_time_limit_not_the_wait_for_a_cpu(threads, *, works: bool) -> None:
    """On a busy machine a thread does not run for most of its slice, as it does not while it sleeps."""

    def step(_text: str) -> None:
        until_s = time.thread_time() + 0.03
        while works and time.thread_time() < until_s:
            pass
        time.sleep(0 if works else 0.03)

    detector = ThreadedDetector(Marks("secrets", "jwt", on_find=step), threads)
    checked = texts(*["x" * 20_000] * 30)
    if works:
        with pytest.raises(TimeoutError):
            async with WorkTimeout(0.3):
                await detector.detect(checked)
    else:
        async with WorkTimeout(0.3):
            await detector.detect(checked)
