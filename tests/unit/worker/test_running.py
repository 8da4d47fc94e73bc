"""D8: a cancelled request ends as such; a worker that stops gives it back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.worker.execution.cancellation import Running
from services.worker.execution.state import GaveUp
from tests.unit.worker.equipped import bus_apart, catalogue_of, equipped, job_of

NOBODY: Any = None


async def _serve(running: Running, begun: asyncio.Event) -> str:
    job = job_of(equipped(catalogue_of()), NOBODY, lasts_s=60)
    try:
        with running.cancellable(job):
            begun.set()
            await asyncio.Event().wait()
    except GaveUp as gave_up:
        await asyncio.sleep(0)  # what ends the request can be waited for
        return gave_up.code
    return "answered"


async def test_d8_a_cancel_ends_each_request_of_that_id_and_no_other() -> None:
    running, begun = Running(bus_apart()), asyncio.Event()
    serving = asyncio.create_task(_serve(running, begun))
    await begun.wait()
    running._cancel("a", "another")
    running._cancel("a", "r")
    running._cancel("a", "r")
    assert await serving == "cancelled"


async def test_d8_what_was_cancelled_in_the_queue_is_not_begun() -> None:
    running, begun = Running(bus_apart()), asyncio.Event()
    running._cancellations.mark("a", "r")
    assert await _serve(running, begun) == "cancelled"
    assert not begun.is_set()


async def test_d7_a_worker_that_stops_ends_nothing() -> None:
    running, begun = Running(bus_apart()), asyncio.Event()
    serving = asyncio.create_task(_serve(running, begun))
    await begun.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
