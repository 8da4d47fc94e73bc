"""The vectors that this process used last, bounded in bytes. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["VectorMemory"]

_BYTES: Final = 32 * 1024 * 1024
_ENTRY_BYTES: Final = 250
"""What an entry takes beside the numbers: its key, and the objects of Python."""


class VectorMemory:
    """By key; at the limit the vector is dropped that was not used for the longest time."""

    def __init__(self, limit_bytes: int = _BYTES) -> None:
        self._limit = limit_bytes
        self._bytes = 0
        self._vectors: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        vector = self._vectors.pop(key, None)
        if vector is not None:
            self._vectors[key] = vector  # to the end
        return vector

    def add(self, key: str, vector: bytes) -> None:
        before = self._vectors.pop(key, None)
        if before is not None:
            self._bytes -= len(before) + _ENTRY_BYTES
        self._vectors[key] = vector
        self._bytes += len(vector) + _ENTRY_BYTES
        while self._bytes > self._limit:
            oldest = next(iter(self._vectors))
            self._bytes -= len(self._vectors.pop(oldest)) + _ENTRY_BYTES
