"""Instants and durations as text."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

__all__ = ["duration_text", "utc_text"]

_UNITS: Final = ((86_400, "days"), (3_600, "h"), (60, "min"))
"""Seconds of each unit; a duration is shown in the largest of which it has two."""


def duration_text(seconds: float) -> str:
    """A duration, rounded up: `45 s`, `3 min`, `13 h`, `12 days`."""
    for size, unit in _UNITS:
        if seconds > 2 * size:
            return f"{math.ceil(seconds / size)} {unit}"
    return f"{max(math.ceil(seconds), 1)} s"


def utc_text(unix_ms: int) -> str:
    """UTC to the second; `?` for a time out of range."""
    try:
        return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return "?"
