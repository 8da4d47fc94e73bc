"""Memory that a test file has freed does not stay with the process."""

from __future__ import annotations

import psutil
import pytest

from services.ledger.partitions import free_memory
from tests.harness.suite.freed_memory import FreedMemory

MB = 2**20


@pytest.mark.skipif(free_memory._library is None, reason="the C library cannot return memory")
def test_freed_memory_is_returned_after_a_file():
    freed, process = FreedMemory(), psutil.Process()
    freed.file_ended()
    before = process.memory_info().rss
    blocks = [b"x" * (2_000 + number % 100) for number in range(100_000)]
    left = blocks[::1_000]  # the C library by itself returns only what is free above the last of them
    del blocks
    assert process.memory_info().rss > before + 100 * MB

    freed.file_ended()

    assert process.memory_info().rss < before + 60 * MB
    assert len(left) == 100
