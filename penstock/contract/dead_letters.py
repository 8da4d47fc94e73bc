"""What is known of the attempts at a request that was buried; it stands in a header of its dead letter."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["DeadAttempt", "DeadHistory"]


class DeadAttempt(Struct, frozen=True, kw_only=True):
    """One provider attempt, as the stored replies tell it."""

    attempt: int
    model: str = ""
    provider: str = ""
    worker: str = ""
    at_ms: int = 0
    """When it began, Unix milliseconds; 0: not known."""
    outcome: str = ""
    """Why another one followed, as an error code, or `no end`: whoever made it was not heard of again."""
    bytes_out: int = 0
    """Of an answer, sent before it ended."""


class DeadHistory(Struct, frozen=True, kw_only=True):
    """The last attempts, oldest first; `left_out` more came before them."""

    attempts: tuple[DeadAttempt, ...] = ()
    left_out: int = 0
