"""D9: a call that is repeated every few seconds goes on after it failed."""

from __future__ import annotations

import logging

import nats.errors
import pytest

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
