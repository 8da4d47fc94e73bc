"""D6: text that is held briefly is released once, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from services.edge.answers.release_timer import ReleaseTimer


class Calls:
    def __init__(self, error: Exception | None = None) -> None:
        self.count = 0
        self.errors: list[Exception] = []
        self._error = error

    async def release(self) -> None:
        self.count += 1
        if self._error is not None:
            raise self._error

    def timer(self, after_s: float | None) -> ReleaseTimer:
        return ReleaseTimer(self.release, after_s, self.errors.append)


async def test_d6_text_is_released_once_after_its_time():
    calls = Calls()
    timer = calls.timer(1.5)
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
    for timer in (calls.timer(None), calls.timer(1.0)):
        timer.start()
        await timer.stop()
        await timer.stop()
        await asyncio.sleep(5)
    assert calls.count == 0


async def test_d6_nothing_is_released_while_an_event_is_added():
    calls = Calls()
    timer = calls.timer(1.0)
    timer.start()
    async with timer.paused():
        await asyncio.sleep(5)
        assert calls.count == 0
    await asyncio.sleep(0.1)
    assert calls.count == 1
    await timer.stop()


async def test_d6_an_error_of_the_release_is_reported_at_once_and_raised_before_the_next_event():
    error = ValueError("cannot be released")
    calls = Calls(error)
    timer = calls.timer(1.0)
    timer.start()
    await asyncio.sleep(1.1)
    assert calls.errors == [error]
    with pytest.raises(ValueError, match="cannot be released"):
        async with timer.paused():
            pytest.fail("an event is added after the error")
    await timer.stop()
