"""What the tests measure is that of the work alone, however large the process of the tests has become."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.harness.indexer.watching import MemoryPeaks, loop_watch
from tests.harness.suite.waiting import until

HELD_MB = 300
FULL = 2
"""The oldest generation of the garbage collector."""
SLEEPS = (sys.executable, "-S", "-c", "import time; time.sleep(60)")


@contextmanager
def forked(command: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """The id of a child that runs the command as soon as a byte is written to the descriptor."""
    waits, starts = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(waits, 1)
        os.execv(command[0], command)  # noqa: S606 - the test is about this call
    try:
        yield pid, starts
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(waits)
        os.close(starts)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
async def test_a_child_is_measured_from_its_own_program_on():
    held = b"x" * (HELD_MB * 2**20)
    peaks = MemoryPeaks()
    assert peaks.before > HELD_MB
    with forked(SLEEPS) as (pid, starts):
        peaks.sample()
        assert pid not in peaks.children
        os.write(starts, b".")

        def is_measured() -> bool:
            peaks.sample()
            return pid in peaks.children

        await until(is_measured)
        assert 0 < peaks.children[pid] < HELD_MB / 2
    assert len(held) == HELD_MB * 2**20


async def test_what_the_process_held_before_is_not_read_while_a_loop_is_watched():
    full: list[str] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if info["generation"] == FULL:
            full.append(phase)

    def allocate() -> list[list[int]]:
        """A quarter of what the last full collection left, and so much that one is due."""
        return [[] for _ in range(1_000_000)]

    gc.collect()
    gc.callbacks.append(note)
    try:
        async with loop_watch():
            held = allocate()
            assert not full
        held += allocate()
        assert full, "afterwards collections are as before"
    finally:
        gc.callbacks.remove(note)
