"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

__all__ = ["halt"]

_AGAIN_S: Final = 1.0


async def halt(*tasks: asyncio.Task[Any]) -> None:
    """Cancels them, and again each second until they have ended.

    Once is not enough: up to Python 3.11 `asyncio.wait_for`, which nats-py waits with, forgets a cancellation that
    comes in the moment of its result (python/cpython#86296). The loop that waited there would go on for ever.
    """
    left: Iterable[asyncio.Task[Any]] = tasks
    while left := {task for task in left if not task.done()}:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)
