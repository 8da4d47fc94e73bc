"""Processes that do not run for a while, as when their virtual machine is moved."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = ["freeze", "frozen"]


@contextmanager
def frozen(pids: Sequence[int]) -> Iterator[None]:
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def freeze(pids: Sequence[int], seconds: float) -> None:
    with frozen(pids):
        await asyncio.sleep(seconds)
