"""H1: progress events of an index request are bounded in number, and none follows the end."""

from __future__ import annotations

import asyncio

from services.indexer.requests.progress import ProgressReporter
from tests.harness.suite.waiting import until


async def test_h1_many_changes_are_one_event_and_none_gives_none():
    sent: list[int] = []
    changes = 0

    async def send() -> None:
        sent.append(changes)

    reporter = ProgressReporter(send, every_s=0.02)
    async with reporter.sending():
        for _ in range(100):
            changes += 1
            reporter.note()
        await until(lambda: bool(sent), every_s=0.001)
        assert sent == [100]
        await asyncio.sleep(0.05)
        assert sent == [100]
        changes += 1
        reporter.note()
        await until(lambda: len(sent) == 2, every_s=0.001)
    assert sent == [100, 101]


async def test_h1_events_that_cannot_be_sent_do_not_end_the_request():
    tries = 0

    async def send() -> None:
        nonlocal tries
        tries += 1
        raise ConnectionError("lost")

    reporter = ProgressReporter(send, every_s=0.001)
    async with reporter.sending():
        reporter.note()
        await until(lambda: tries == 1, every_s=0.001)
        reporter.note()
        await until(lambda: tries == 2, every_s=0.001)


async def test_h1_nothing_is_sent_after_the_end():
    sent = 0

    async def send() -> None:
        nonlocal sent
        sent += 1
        await asyncio.sleep(10)

    reporter = ProgressReporter(send, every_s=0.001)
    async with reporter.sending():
        reporter.note()
        await until(lambda: sent == 1, every_s=0.001)
    reporter.note()
    await asyncio.sleep(0.01)
    assert sent == 1
