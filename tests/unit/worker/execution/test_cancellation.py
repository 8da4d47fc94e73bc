"""D8: a cancelled request ends as such; a worker that stops gives it back."""

from __future__ import annotations

import asyncio

import pytest

from services.worker.execution.cancellation import CancellableExecutions
from services.worker.execution.state import GaveUp
from tests.unit.worker.worker_parts import WorkerParts, bus_apart, catalogue_of


async def _serve(running: CancellableExecutions, begun: asyncio.Event) -> str:
    execution = WorkerParts(catalogue_of()).execution(lasts_s=60)
    try:
        with running.entered(execution):
            begun.set()
            await asyncio.Event().wait()
    except GaveUp as gave_up:
        await asyncio.sleep(0)  # what ends the request can be waited for
        return gave_up.code
    return "answered"


async def test_d8_a_cancel_ends_each_request_of_that_id_and_no_other() -> None:
    running, begun = CancellableExecutions(bus_apart()), asyncio.Event()
    serving = asyncio.create_task(_serve(running, begun))
    await begun.wait()
    running._cancel("a", "another")
    running._cancel("a", "r")
    running._cancel("a", "r")
    assert await serving == "cancelled"


async def test_d8_what_was_cancelled_in_the_queue_is_not_begun() -> None:
    running, begun = CancellableExecutions(bus_apart()), asyncio.Event()
    running._cancellations.mark("a", "r")
    assert await _serve(running, begun) == "cancelled"
    assert not begun.is_set()


async def test_d7_a_worker_that_stops_ends_nothing() -> None:
    running, begun = CancellableExecutions(bus_apart()), asyncio.Event()
    serving = asyncio.create_task(_serve(running, begun))
    await begun.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
