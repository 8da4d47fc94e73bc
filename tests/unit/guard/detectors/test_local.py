from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock.contract.guard.checks import CheckedText, Finding
from services.guard.detectors.local import ThreadedDetector
from tests.harness.providers.marking_detectors import Marks

pytestmark = pytest.mark.real_time


@pytest.fixture
def threads():
    with ThreadPoolExecutor(1) as pool:
        yield pool


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


async def test_g2_a_thread_stops_after_the_text_in_which_its_check_was_given_up(threads):
    begun, go_on, read = threading.Event(), threading.Event(), []

    def wait(text: str) -> None:
        read.append(text)
        begun.set()
        go_on.wait(10)

    detector = ThreadedDetector(Marks("secrets", "jwt", on_find=wait), threads)
    asked = asyncio.create_task(detector.detect(texts(*["x" * 10_000] * 5)))
    await asyncio.to_thread(begun.wait)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    go_on.set()
    threads.shutdown()
    assert len(read) == 1
