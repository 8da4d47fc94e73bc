"""Wait for a condition instead of for a fixed time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], bool | Awaitable[bool]], within_s: float = 20.0) -> float:
    """Wait until `condition` is true; return the seconds. Raises AssertionError after `within_s`."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    while True:
        answer = condition()
        if answer if isinstance(answer, bool) else await answer:
            return loop.time() - began_s
        assert loop.time() - began_s < within_s, f"not within {within_s:g} s"
        await asyncio.sleep(0.01)
