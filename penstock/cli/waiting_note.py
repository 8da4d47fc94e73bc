"""A note for the user of a command that waits."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from penstock.runtime.aio import cancel_and_wait

__all__ = ["waiting_note"]

_AFTER_S: Final = 2.0


@asynccontextmanager
async def waiting_note(text: str, after_s: float = _AFTER_S) -> AsyncIterator[None]:
    """Print `text` in brackets on stderr when the body takes longer than `after_s` seconds."""

    async def note() -> None:
        await asyncio.sleep(after_s)
        print(f"[{text}]", file=sys.stderr, flush=True)

    task = asyncio.create_task(note(), name="waiting note")
    try:
        yield
    finally:
        await cancel_and_wait(task)
