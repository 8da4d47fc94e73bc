"""A bound on the memory of large request bodies."""

from __future__ import annotations

from typing import Final

__all__ = ["SMALL_BODY_BYTES", "BodyMemory"]

SMALL_BODY_BYTES: Final = 8 * 1024 * 1024
"""Bodies up to this size are bounded by the number of requests of a key only."""
_LIMIT_BYTES: Final = 512 * 1024 * 1024


class BodyMemory:
    """Counts the bytes of the larger bodies of all requests in progress."""

    def __init__(self, limit: int = _LIMIT_BYTES) -> None:
        self._free = limit

    def take(self, size: int) -> bool:
        """Whether there was space for `size` bytes, which are now counted."""
        if size > self._free:
            return False
        self._free -= size
        return True

    def release(self, size: int) -> None:
        self._free += size
