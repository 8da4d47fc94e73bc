"""How glibc's allocator gives memory back to the operating system."""

from __future__ import annotations

import ctypes
from typing import Final

__all__ = ["return_large_blocks_when_freed"]

_M_MMAP_THRESHOLD: Final = -3
"""glibc's malloc.h."""
_LARGE_BYTES: Final = 1024 * 1024
"""Above the 256 KiB that an event loop allocates for each read of a socket, so that reading maps no memory."""


def return_large_blocks_when_freed() -> None:
    """Let every block of 1 MiB or more be a mapping of its own, which ends when the block is freed.

    By default glibc raises this threshold to the size of each mapping that is freed, to at most 32 MiB. Bodies of
    megabytes then lie among small blocks of the heap, and a burst of them leaves a process at several times its size.
    Does nothing where the C library has no `mallopt`.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
