"""Work on a request body that does not block the event loop for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

__all__ = ["in_thread_if_large"]

_SMALL_BYTES: Final = 128 * 1024
"""A body of this size is read or translated within 20 ms, whatever it contains."""

_Body = TypeVar("_Body", bound=bytes)
_Result = TypeVar("_Result")


async def in_thread_if_large(work: Callable[[_Body], _Result], body: _Body) -> _Result:
    """`work(body)`; for a large body in a thread, so that the event loop runs in between. Raises what `work` does."""
    if len(body) <= _SMALL_BYTES:
        return work(body)
    return await asyncio.to_thread(work, body)
