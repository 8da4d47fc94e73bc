"""Versions of changes: exact in JSON, whose numbers are exact below 2**53 only in some languages."""

from __future__ import annotations

from typing import Final

__all__ = ["EXACT_VERSION", "INEXACT", "exact_version", "version_at"]

_EPOCH_MS: Final = 1_704_067_200_000
"""2024-01-01. 41 bits of milliseconds since then last until 2093."""
_SEQUENCES: Final = 4_096
_MOST: Final = 2**53 - 1
_FORMER_SEQUENCES: Final = 4_194_304
"""Former versions: milliseconds since 1970, and 22 bits of the sequence."""

INEXACT: Final = f"version > {_MOST}"
"""True in SQL for a row of the store with a former version."""
EXACT_VERSION: Final = (
    f"(version / {_FORMER_SEQUENCES} - {_EPOCH_MS}) * {_SEQUENCES} "
    f"+ version - version / {_SEQUENCES} * {_SEQUENCES}"
)
"""What it is now, in SQL."""


def version_at(unix_ms: int, sequence: int) -> int:
    """Of a change that was requested at this time by the message with this sequence; 1 at least."""
    since_ms = min(max(unix_ms - _EPOCH_MS, 0), _MOST // _SEQUENCES)
    return max(1, since_ms * _SEQUENCES + sequence % _SEQUENCES)


def exact_version(version: int) -> int:
    """The same for a former version, in the same order."""
    if version <= _MOST:
        return version
    return version_at(version // _FORMER_SEQUENCES, version)
