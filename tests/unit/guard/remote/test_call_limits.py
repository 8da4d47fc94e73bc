"""G1, G2: the limits of one detector's calls, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from penstock.bus.clock import loop_now_s
from penstock.runtime.config.catalogue import Breaker
from services.guard.detectors.detector import DetectorUnavailable
from services.guard.remote.call_limits import CallLimits
from services.guard.remote.rater import CallFailed

BREAKER = Breaker(failure_threshold=3, open_s=10, success_threshold=1)


def limits(concurrency: int = 4, per_minute: int | None = None, timeout_s: float = 4.0) -> CallLimits:
    return CallLimits(concurrency, per_minute, timeout_s, loop_now_s, BREAKER)


async def call(limited: CallLimits, seconds: float = 0.0, failure: CallFailed | None = None) -> str:
    """How a call ended."""
    try:
        async with limited.call():
            await asyncio.sleep(seconds)
            if failure is not None:
                raise failure
    except DetectorUnavailable as unavailable:
        return str(unavailable)
    except CallFailed:
        return "failed"
    return "done"


async def test_g2_calls_wait_for_a_slot():
    limited, began_s = limits(concurrency=2), loop_now_s()
    assert await asyncio.gather(*(call(limited, 1.0) for _ in range(6))) == ["done"] * 6
    assert loop_now_s() - began_s == pytest.approx(3.0, abs=0.01)


async def test_g2_a_burst_above_the_rate_is_spread_and_an_exhausted_rate_is_reported():
    limited = limits(concurrency=100, per_minute=600)
    ends = await asyncio.gather(*(call(limited) for _ in range(60)))
    assert ends == ["done"] * 60, "60 are the burst"
    assert await call(limited) == "done"
    ends = await asyncio.gather(*(call(limited) for _ in range(50)))
    assert ends.count("no quota") > 0


async def test_g2_a_refusal_pauses_all_calls_for_as_long_as_the_service_says():
    limited = limits()
    assert await call(limited, failure=CallFailed("quota", "HTTP 429", 7.0)) == "failed"
    assert await call(limited) == "no quota"
    await asyncio.sleep(6.9)
    assert await call(limited) == "no quota"
    await asyncio.sleep(0.2)
    assert await call(limited) == "done"


@pytest.mark.parametrize(("hint_s", "pause_s"), [(None, 1.0), (86_400.0, 60.0)])
async def test_g2_a_pause_without_a_hint_is_short_and_none_is_long(hint_s, pause_s):
    limited = limits()
    await call(limited, failure=CallFailed("quota", "HTTP 429", hint_s))
    await asyncio.sleep(pause_s - 0.1)
    assert await call(limited) == "no quota"
    await asyncio.sleep(0.2)
    assert await call(limited) == "done"


async def test_g2_outages_open_the_breaker_and_one_probe_closes_it():
    limited = limits()
    for _ in range(3):
        assert await call(limited, failure=CallFailed("outage", "HTTP 500")) == "failed"
    assert await call(limited) == "breaker open"
    await asyncio.sleep(10.1)
    probe = asyncio.create_task(call(limited, 1.0))
    await asyncio.sleep(0)
    assert await call(limited) == "breaker open", "one probe at a time"
    assert await probe == "done"
    assert await call(limited) == "done"


@pytest.mark.parametrize("kind", ["request", "quota"])
async def test_g2_refused_requests_and_quota_do_not_open_the_breaker(kind):
    limited = limits()
    for _ in range(10):
        await call(limited, failure=CallFailed(kind, "HTTP 400", 0.0))
    assert await call(limited) == "done"


async def test_g2_calls_that_are_cancelled_late_are_timeouts_and_early_ones_say_nothing():
    for seconds, end in ((1.0, "done"), (3.0, "breaker open")):
        limited = limits(timeout_s=4.0)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(call(limited, 60.0), seconds)
        assert await call(limited) == end


@pytest.mark.parametrize("failure", [None, CallFailed("outage", "timeout")])
async def test_g4_calls_that_a_frozen_guard_could_not_end_in_time_say_nothing(failure):
    frozen_s = 0.0
    limited = CallLimits(4, None, 4.0, lambda: loop_now_s() + frozen_s, BREAKER)
    calls = [asyncio.create_task(call(limited, 1.0, failure)) for _ in range(4)]
    await asyncio.sleep(0.9)
    frozen_s = 30.0  # all timers are due when the process goes on
    for task in calls if failure is None else ():
        task.cancel()
    await asyncio.wait(calls)
    assert await call(limited) == "done"
