"""D9: a call that is repeated every few seconds goes on after it failed."""

from __future__ import annotations

import asyncio
import logging

import nats.errors
import pytest

from penstock.bus.connection import ConnectionEvents
from penstock.runtime.periodic_loop import PeriodicLoop
from tests.harness.suite.waiting import until


@pytest.mark.parametrize(
    ("error", "level"), [(nats.errors.TimeoutError(), logging.WARNING), (KeyError("defect"), logging.ERROR)]
)
async def test_d9_a_failed_call_is_logged_and_repeated(
    error: Exception, level: int, caplog: pytest.LogCaptureFixture
):
    states: list[bool] = []

    async def action() -> None:
        states.append(loop.succeeded)
        if len(states) == 2:
            raise error

    loop = PeriodicLoop("the comparison", 0.001, action)
    loop.start()
    await until(lambda: len(states) >= 4)
    await loop.stop()
    assert states[:4] == [True, True, False, True]
    (record,) = caplog.records
    assert record.levelno == level
    assert record.getMessage().startswith("the comparison failed, and is repeated in 0.001 s")
    assert bool(record.exc_info) == (level == logging.ERROR)
    ended = len(states)
    await loop.stop()
    assert len(states) == ended


async def test_d9_after_a_reconnection_the_call_is_made_at_once_until_the_loop_is_stopped():
    calls: list[bool] = []

    async def action() -> None:
        calls.append(True)

    events, loop = ConnectionEvents(), PeriodicLoop("the comparison", 3600, action)
    loop.start(events)
    await events.reconnected()
    assert len(calls) == 1
    await loop.stop()
    await events.reconnected()
    assert len(calls) == 1


async def test_d9_a_call_that_waited_for_a_lost_answer_says_nothing_after_a_later_one():
    answers: list[asyncio.Future[None]] = []

    async def action() -> None:
        answers.append(asyncio.get_running_loop().create_future())
        await answers[-1]

    loop = PeriodicLoop("the comparison", 3600, action)
    earlier, later = (asyncio.create_task(loop.run_once()) for _ in range(2))
    await until(lambda: len(answers) == 2)
    answers[1].set_result(None)
    await later
    answers[0].set_exception(nats.errors.TimeoutError())
    await earlier
    assert loop.succeeded
