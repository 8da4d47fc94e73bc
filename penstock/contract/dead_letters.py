"""The attempts of a dead-lettered request, stored in a header of its dead letter."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["DeadAttempt", "DeadHistory"]


class DeadAttempt(Struct, frozen=True, kw_only=True):
    """One provider attempt, reconstructed from the stored reply events."""

    attempt: int
    model: str = ""
    provider: str = ""
    worker: str = ""
    at_ms: int = 0
    """Start of the attempt in Unix milliseconds; 0: unknown."""
    outcome: str = ""
    """The error code for which another attempt followed, or `no end` when the worker sent no further event."""
    bytes_out: int = 0
    """Bytes of answer text sent before the attempt ended."""


class DeadHistory(Struct, frozen=True, kw_only=True):
    """The last attempts, oldest first; `left_out` earlier ones are not listed."""

    attempts: tuple[DeadAttempt, ...] = ()
    left_out: int = 0
