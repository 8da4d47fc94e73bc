"""Loops a process cannot do without."""

from __future__ import annotations

import asyncio
import signal

import pytest

from penstock.runtime.aio import CriticalLoop


async def turning(turned: asyncio.Event) -> None:
    try:
        while True:
            turned.set()
            await asyncio.sleep(0)
    finally:
        turned.clear()


async def test_a_loop_turns_until_it_is_stopped_and_that_is_no_death():
    deaths: list[str] = []
    turned = asyncio.Event()
    loop = CriticalLoop("turning", lambda: deaths.append("died"))
    loop.start(turning(turned))
    await turned.wait()
    await loop.stop()
    assert not turned.is_set(), "it has ended when stop returns"
    await loop.stop()
    assert deaths == []


async def test_a_cancellation_that_was_forgotten_is_not_the_last():
    """As by `asyncio.wait_for` up to Python 3.11 in the moment of its result."""
    forgotten = asyncio.Event()

    async def forgetting() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            forgotten.set()
        await asyncio.sleep(60)

    loop = CriticalLoop("forgetting", lambda: None)
    loop.start(forgetting())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await loop.stop()
    assert forgotten.is_set()


async def test_one_that_never_began_is_stopped_at_once():
    await CriticalLoop("never").stop()


@pytest.mark.parametrize("failure", [None, ValueError("a defect")])
async def test_a_loop_that_ends_by_itself_is_told_with_its_failure(
    failure: Exception | None, caplog: pytest.LogCaptureFixture
):
    died = asyncio.Event()

    async def ending() -> None:
        if failure is not None:
            raise failure

    loop = CriticalLoop("ending", died.set)
    loop.start(ending())
    await asyncio.wait_for(died.wait(), 5)
    (record,) = caplog.records
    assert record.levelname == "CRITICAL"
    assert "the loop 'ending' ended by itself" in record.message
    assert record.exc_info is None or record.exc_info[1] is failure
    await loop.stop()


async def test_the_process_is_asked_to_stop_as_an_operator_would():
    asked = asyncio.Event()
    running = asyncio.get_running_loop()
    running.add_signal_handler(signal.SIGTERM, asked.set)
    try:
        CriticalLoop("ending").start(asyncio.sleep(0))
        await asyncio.wait_for(asked.wait(), 5)
    finally:
        running.remove_signal_handler(signal.SIGTERM)
