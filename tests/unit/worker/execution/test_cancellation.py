"""D8: a cancelled request ends as cancelled; a stopping worker returns it to the queue."""

from __future__ import annotations

import asyncio

import pytest

from services.worker.execution.cancellation import CancellableExecutions
from services.worker.execution.state import GaveUp
from tests.unit.worker.worker_parts import WorkerParts, bus_apart, catalogue_of


async def _execute(executions: CancellableExecutions, begun: asyncio.Event) -> str:
    execution = WorkerParts(catalogue_of()).execution(lasts_s=60)
    try:
        with executions.entered(execution):
            begun.set()
            await asyncio.Event().wait()
    except GaveUp as gave_up:
        await asyncio.sleep(0)  # the task can wait again after the cancellation
        return gave_up.code
    return "answered"


async def test_d8_a_cancel_ends_every_request_with_its_id_and_no_other() -> None:
    executions, begun = CancellableExecutions(bus_apart()), asyncio.Event()
    executing = asyncio.create_task(_execute(executions, begun))
    await begun.wait()
    executions._cancel("a", "another")
    executions._cancel("a", "r")
    executions._cancel("a", "r")
    assert await executing == "cancelled"


async def test_d8_a_request_cancelled_in_the_queue_is_not_started() -> None:
    executions, begun = CancellableExecutions(bus_apart()), asyncio.Event()
    executions._cancellations.mark("a", "r")
    assert await _execute(executions, begun) == "cancelled"
    assert not begun.is_set()


async def test_d7_a_stopping_worker_does_not_end_its_requests() -> None:
    executions, begun = CancellableExecutions(bus_apart()), asyncio.Event()
    executing = asyncio.create_task(_execute(executions, begun))
    await begun.wait()
    executing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await executing
