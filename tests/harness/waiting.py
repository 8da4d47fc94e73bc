"""Waiting for a condition instead of sleeping for luck."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], bool | Awaitable[bool]], within_s: float = 20.0) -> float:
    """Returns the seconds it took. Fails when `condition` is not true `within_s`."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    while True:
        answer = condition()
        if answer if isinstance(answer, bool) else await answer:
            return loop.time() - began_s
        assert loop.time() - began_s < within_s, f"not within {within_s:g} s"
        await asyncio.sleep(0.01)
