"""Returns memory that is free in this process to the operating system."""

from __future__ import annotations

import ctypes
from typing import Final

__all__ = ["return_free_memory"]


def _glibc_trim() -> ctypes.CDLL | None:
    """The C library, if it is glibc or another one with `malloc_trim`."""
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None


_library: Final = _glibc_trim()


def return_free_memory() -> None:
    """Loading and saving 100,000 users needs about 60 MB for a moment, which glibc would keep. Takes some milliseconds.

    Does nothing where the C library cannot do it.
    """
    if _library is not None:
        _library.malloc_trim(0)
