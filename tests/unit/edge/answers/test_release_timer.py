"""D6: text that is held briefly is released once, in virtual time."""

from __future__ import annotations

import asyncio

from services.edge.answers.release_timer import ReleaseTimer


class Calls:
    def __init__(self) -> None:
        self.count = 0

    async def release(self) -> None:
        self.count += 1


async def test_d6_text_is_released_once_after_its_time():
    calls = Calls()
    timer = ReleaseTimer(calls.release, 1.5)
    timer.start()
    await asyncio.sleep(1)
    timer.start()
    assert calls.count == 0
    await asyncio.sleep(0.6)
    timer.start()
    await asyncio.sleep(5)
    assert calls.count == 1
    await timer.stop()


async def test_d6_a_timer_without_time_or_stopped_releases_nothing():
    calls = Calls()
    for timer in (ReleaseTimer(calls.release, None), ReleaseTimer(calls.release, 1.0)):
        timer.start()
        await timer.stop()
        await timer.stop()
        await asyncio.sleep(5)
    assert calls.count == 0


async def test_d6_nothing_is_released_while_an_event_is_added():
    calls = Calls()
    timer = ReleaseTimer(calls.release, 1.0)
    timer.start()
    async with timer.paused():
        await asyncio.sleep(5)
        assert calls.count == 0
    await asyncio.sleep(0.1)
    assert calls.count == 1
    await timer.stop()
