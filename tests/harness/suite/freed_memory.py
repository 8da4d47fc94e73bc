"""Keeps the memory of one test file from staying with the process for all later ones."""

from __future__ import annotations

from typing import Final

import psutil

from services.ledger.partitions.free_memory import return_free_memory

__all__ = ["FreedMemory"]

_GROWTH_BYTES: Final = 32 * 2**20
"""Less is not worth the 20 ms that returning it takes in a process of 500 MB."""


class FreedMemory:
    """Returns freed memory to the system after files in which the process grew: glibc would keep 100 MB of one file."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._bytes = 0
        """Of the process when memory was returned last."""

    def file_ended(self) -> None:
        if self._process.memory_info().rss > self._bytes + _GROWTH_BYTES:
            return_free_memory()
            self._bytes = self._process.memory_info().rss
