"""D8: a cancelled request ends as cancelled; a stopping process returns it to the queue."""

from __future__ import annotations

import asyncio

import pytest

from penstock.runtime.cancellation import CancellableRequests
from tests.unit.worker.worker_parts import bus_apart, work


class _Cancelled(Exception):
    pass


def _requests() -> CancellableRequests:
    return CancellableRequests(bus_apart(), _Cancelled)


async def _execute(requests: CancellableRequests, begun: asyncio.Event) -> str:
    try:
        with requests.entered(work()):
            begun.set()
            await asyncio.Event().wait()
    except _Cancelled:
        await asyncio.sleep(0)  # the task can wait again after the cancellation
        return "cancelled"
    return "answered"


async def test_d8_a_cancel_ends_every_request_with_its_id_and_no_other() -> None:
    requests, begun = _requests(), asyncio.Event()
    executing = asyncio.create_task(_execute(requests, begun))
    await begun.wait()
    requests._cancel("a", "another")
    requests._cancel("a", "r")
    requests._cancel("a", "r")
    assert await executing == "cancelled"


async def test_d8_a_request_cancelled_in_the_queue_is_not_started() -> None:
    requests, begun = _requests(), asyncio.Event()
    requests._cancellations.mark("a", "r")
    assert requests.is_cancelled(work())
    assert await _execute(requests, begun) == "cancelled"
    assert not begun.is_set()


async def test_d7_a_stopping_process_does_not_end_its_requests() -> None:
    requests, begun = _requests(), asyncio.Event()
    executing = asyncio.create_task(_execute(requests, begun))
    await begun.wait()
    executing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await executing
