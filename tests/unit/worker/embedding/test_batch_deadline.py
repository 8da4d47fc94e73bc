"""H2: how long a batch and its call last while requests join and leave its texts."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from penstock.bus.clock import loop_now_s
from penstock.runtime.config.catalogue import Timeouts
from services.worker.embedding.batch_deadline import BatchDeadline, CallLimit, timeout_when
from services.worker.embedding.request import Text, WaitingRequest
from services.worker.execution.time_limits import shortened
from tests.harness.suite.virtual_time import run

TIMEOUTS = Timeouts(total_s=60, non_streaming_s=20)


def request(within_s: float) -> WaitingRequest:
    execution = SimpleNamespace(deadline_s=loop_now_s() + within_s)
    return cast("WaitingRequest", SimpleNamespace(execution=execution))


class Limits:
    """Every call leaves half of the time for another one."""

    def limits(self, state: Any, _: str) -> Timeouts:
        return shortened(TIMEOUTS, state.deadline_s - loop_now_s(), 0.0)


class Batch:
    """Of one text, for which one request waits at first."""

    def __init__(self, within_s: float) -> None:
        first = request(within_s)
        self.text = Text("key", "text", 1, requests=[first])
        role = SimpleNamespace(timeouts=TIMEOUTS)
        self.state: Any = SimpleNamespace(deadline_s=first.execution.deadline_s, role=role)
        self.deadline = BatchDeadline(self.state, [self.text])

    def limit(self) -> CallLimit:
        return CallLimit(self.deadline, self.state, cast("Any", Limits()), "m")


async def ended_after_s(ends_s: Any) -> float:
    began_s = loop_now_s()
    with pytest.raises(TimeoutError):
        async with timeout_when(ends_s):
            await asyncio.Event().wait()
    return loop_now_s() - began_s


def test_h2_a_batch_is_tried_until_the_deadline_of_a_request_that_joined_at_the_last_moment() -> None:
    async def joined() -> float:
        batch = Batch(2)
        asyncio.get_running_loop().call_later(1.999, lambda: batch.text.requests.append(request(8)))
        return await ended_after_s(batch.deadline.latest_s)

    assert run(joined()) == pytest.approx(9.999, abs=0.001)


def test_h2_a_call_in_flight_outlasts_the_requests_that_gave_up() -> None:
    async def abandoned() -> float:
        batch = Batch(2)
        asyncio.get_running_loop().call_later(2, batch.text.requests.clear)
        return await ended_after_s(batch.deadline.of_call_s)

    assert run(abandoned()) == pytest.approx(12, abs=0.001)


def test_h2_the_limit_of_a_call_follows_a_request_with_more_time() -> None:
    async def alone() -> float:
        return await ended_after_s(Batch(2).limit().ends_s)

    async def joined(within_s: float) -> tuple[float, float]:
        batch = Batch(2)
        asyncio.get_running_loop().call_later(0.5, lambda: batch.text.requests.append(request(within_s)))
        limit = batch.limit()
        return await ended_after_s(limit.ends_s), limit.length_s

    assert run(alone()) == pytest.approx(1.0, abs=0.001)
    assert run(joined(9.5)) == pytest.approx((5.5, 5.5), abs=0.001), "half of the 9 s left at 1 s"
    assert run(joined(500)) == pytest.approx((20, 20), abs=0.001), "the limit of the role"
