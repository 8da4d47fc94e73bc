"""Threads for long work, which they do in slices: those of other accounts and checks come between them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from penstock.bus.clock import SYSTEM, loop_now_s
from services.guard.detectors.turns import FairQueue, Turn, current_turn
from services.guard.detectors.work_time import current_timeout, waits

__all__ = ["FairThreads", "advance"]

_SLICE_S: Final = 0.02
"""Seconds of work after which a thread goes on with that of the next check; a slice is handed over in 0.1 ms."""


class FairThreads:
    """Belongs to one event loop. The work of a caller that is cancelled ends with its slice. Waits for a thread,
    and for a CPU after each slice, do not count in the time limit of a detector.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._free = threads
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue()

    async def run(self, steps: Iterator[None]) -> None:
        """Do all steps, in any of the threads, one after the other."""
        turn, timeout = current_turn(), current_timeout()
        loop = asyncio.get_running_loop()
        finished = False
        while not finished:
            await self._thread(turn)
            try:
                began_s = loop_now_s()
                finished, worked_s = await loop.run_in_executor(self._pool, _slice, steps)
            finally:
                self._release()
            if timeout is not None:
                timeout.give_back(max(0.0, loop_now_s() - began_s - worked_s))

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _thread(self, turn: Turn) -> None:
        """Wait for a thread."""
        if self._free:
            self._free -= 1
            return
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn, given)
        try:
            with waits():
                await given
        except asyncio.CancelledError:
            if given.done() and not given.cancelled():
                self._release()
            raise

    def _release(self) -> None:
        while self._waiting:
            given = self._waiting.popleft()
            if not given.done():
                given.set_result(None)
                return
        self._free += 1


def advance(steps: Iterator[None], seconds: float) -> bool:
    """Do steps for so long, at least one; whether they have come to their end."""
    until_s = SYSTEM.monotonic_s() + seconds
    return all(SYSTEM.monotonic_s() < until_s for _ in steps)


def _slice(steps: Iterator[None]) -> tuple[bool, float]:
    """`advance` by a slice; also the seconds of CPU time that it took."""
    began_s = time.thread_time()
    return advance(steps, _SLICE_S), time.thread_time() - began_s
