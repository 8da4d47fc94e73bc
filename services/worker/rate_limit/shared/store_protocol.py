"""The store of shared records, as the policy sees it."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

__all__ = ["Conflict", "RecordStore", "Stored", "Unreachable"]


class Conflict(Exception):
    """Another writer stored an entry after the given revision; nothing was stored."""


class Unreachable(Exception):
    """No answer, or no bucket. Whether a write was stored is unknown."""


class Stored(Struct, frozen=True):
    """One entry."""

    data: bytes
    """Empty: the entry was deleted."""
    revision: int
    at_s: float
    """When it was stored, on the server's clock; used only to measure how long no worker wrote."""


class RecordStore(Protocol):
    async def read(self, key: str) -> Stored | None:
        """The latest entry. Raises Unreachable."""
        ...

    async def write(self, key: str, data: bytes, revision: int) -> int:
        """Replace the entry of that revision (0: there is none); returns the new one. Raises Conflict, Unreachable."""
        ...
