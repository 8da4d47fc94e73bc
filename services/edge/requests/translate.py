"""Reads a request body without blocking the event loop for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

__all__ = ["translated"]

_SMALL_BYTES: Final = 128 * 1024
"""A body of this size is read within 20 ms, whatever it contains."""

_Read = TypeVar("_Read")


async def translated(read: Callable[[bytes], _Read], body: bytes) -> _Read:
    """`read(body)`; for a large body in a thread, so that the event loop runs in between. Raises what `read` does."""
    if len(body) <= _SMALL_BYTES:
        return read(body)
    return await asyncio.to_thread(read, body)
