"""What a piece of work costs the process that asks for it and its children."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from threading import Event, Thread

import psutil

_SAMPLE_S = 0.005
_LOOK_S = 0.1
"""Between two looks for new children, each of which reads every process of the machine. A child loads its libraries
for longer before it reads a document."""
_MB = 2**20
_NEVER = 2**31 - 1
"""Collections of the middle generation before a full one."""


class MemoryPeaks:
    """In MB."""

    def __init__(self) -> None:
        self._own = psutil.Process()
        self._own_command = self._own.cmdline()
        self.before = self._own.memory_info().rss / _MB
        self.own = self.before
        self.children: dict[int, float] = {}
        """Of each child that runs a program of its own, by process id."""
        self._running: list[psutil.Process] = []
        self._look_s = 0.0

    @property
    def child(self) -> float:
        """Of the largest child."""
        return max(self.children.values(), default=0.0)

    @property
    def growth(self) -> float:
        return self.own - self.before

    def sample(self, *, look: bool = False) -> None:
        """`look`: for new children now, and not only when it is due."""
        self.own = max(self.own, self._own.memory_info().rss / _MB)
        if (now_s := time.monotonic()) >= self._look_s or look:
            self._look_s = now_s + _LOOK_S
            self._running = [child for child in self._own.children() if self._runs_own_program(child)]
        for child in self._running:
            with suppress(psutil.Error):
                now = child.memory_info().rss / _MB
                self.children[child.pid] = max(self.children.get(child.pid, 0.0), now)

    def _runs_own_program(self, child: psutil.Process) -> bool:
        """Until its exec a child has the memory and the command line of this process."""
        try:
            return child.cmdline() not in ([], self._own_command)
        except psutil.Error:  # it has ended
            return False


@contextmanager
def memory_peaks() -> Iterator[MemoryPeaks]:
    peaks, ended = MemoryPeaks(), Event()

    def watch() -> None:
        while not ended.wait(_SAMPLE_S):
            peaks.sample()

    thread = Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        ended.set()
        thread.join()
        peaks.sample(look=True)  # the child that read the last document is kept for the next one


class LoopWatch:
    blocked_s = 0.0
    """The longest processor time that the thread of the loop used until the loop came back. Not wall time, so that
    other processes of the machine do not count."""


@asynccontextmanager
async def loop_watch() -> AsyncIterator[LoopWatch]:
    watch, thresholds = LoopWatch(), gc.get_threshold()
    # A full collection would read all objects of the earlier tests: 50 ms in a process that has run thousands.
    gc.set_threshold(*thresholds[:2], _NEVER)

    async def tick() -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(0.001)
            now = time.thread_time()
            watch.blocked_s = max(watch.blocked_s, now - last)
            last = now

    task = asyncio.create_task(tick())
    try:
        yield watch
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        gc.set_threshold(*thresholds)
