"""Wait for a condition instead of for a fixed time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

__all__ = ["WAIT_TIMEOUT_S", "until"]

WAIT_TIMEOUT_S = 60.0
"""Seconds that a test waits for a condition. Waiting ends when the condition holds, so a long limit costs no time, and
a machine with ten busy processes on each core keeps it. The time limit of the test has to be longer: a test that
pytest-timeout ends does not say what it waited for."""


async def until(
    condition: Callable[[], bool | Awaitable[bool]],
    timeout_s: float = WAIT_TIMEOUT_S,
    every_s: float = 0.02,
    *,
    found: Callable[[], str] = lambda: "",
) -> float:
    """Wait until `condition` is true; return the seconds.

    Raises AssertionError after `timeout_s`, with `found()`: what was there instead.
    """
    began_s = time.monotonic()
    while True:
        answer = condition()
        if answer if isinstance(answer, bool) else await answer:
            return time.monotonic() - began_s
        assert time.monotonic() - began_s < timeout_s, f"not within {timeout_s:g} s {found()}".rstrip()
        await asyncio.sleep(every_s)
