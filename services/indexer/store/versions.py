"""Versions of changes: exact in JSON, whose numbers are exact below 2**53 only in some languages."""

from __future__ import annotations

from typing import Final

__all__ = ["version_at"]

_EPOCH_MS: Final = 1_704_067_200_000
"""2024-01-01. 41 bits of milliseconds since then last until 2093."""
_SEQUENCES: Final = 4_096
_MOST: Final = 2**53 - 1


def version_at(unix_ms: int, sequence: int) -> int:
    """Of a change that was requested at this time by the message with this sequence; 1 at least."""
    since_ms = min(max(unix_ms - _EPOCH_MS, 0), _MOST // _SEQUENCES)
    return max(1, since_ms * _SEQUENCES + sequence % _SEQUENCES)
