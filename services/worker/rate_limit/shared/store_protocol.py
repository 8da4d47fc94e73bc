"""Where shared records are reserved, as the policy sees it."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

__all__ = ["Conflict", "RecordStore", "Stored", "Unreachable"]


class Conflict(Exception):
    """Somebody else wrote since the revision that was named; nothing was stored."""


class Unreachable(Exception):
    """No answer, or no bucket. Whether a write was stored nobody knows."""


class Stored(Struct, frozen=True):
    """One entry."""

    data: bytes
    """Empty: the entry was deleted."""
    revision: int
    at_s: float
    """When it was stored, on the server's clock. Good for how long nobody wrote, and for nothing else."""


class RecordStore(Protocol):
    async def read(self, key: str) -> Stored | None:
        """The latest entry. Raises Unreachable."""
        ...

    async def write(self, key: str, data: bytes, revision: int) -> int:
        """Replace the entry of that revision (0: there is none); returns the new one. Raises Conflict, Unreachable."""
        ...
