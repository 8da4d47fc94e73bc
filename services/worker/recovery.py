"""A limit's recovery as presence tells it: when how much is free again, if nothing more is spent."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from typing import Final

from msgspec import Struct

from schemas.presence import Recovery

__all__ = ["Outlook", "recovery"]

_STEP_MS: Final = 1000
"""What comes back within one step is told as coming back at its end."""
_HORIZON_MS: Final = 3_600_000
"""No request waits longer than this."""


class Outlook(Struct, frozen=True):
    """What one key will give."""

    recoveries: tuple[Recovery, ...] = ()
    paused_s: float = 0.0
    """What is left of a pause."""
    concurrency: int | None = None
    source: str | None = None
    """What several workers share; None: this process counts for itself."""


def recovery(
    limit: str, window_s: float, allowed: int, used: int, returns: Iterable[tuple[float, int]]
) -> Recovery:
    """`returns`: in so many seconds, so much of `used` is free again; in any order."""
    steps: dict[int, int] = {}
    for after_s, amount in returns:
        after_ms = max(1, ceil(after_s * 1000 / _STEP_MS)) * _STEP_MS
        if amount > 0 and after_ms <= _HORIZON_MS:
            steps[after_ms] = steps.get(after_ms, 0) + amount
    return Recovery(
        limit=limit,
        window_ms=round(window_s * 1000),
        allowed=allowed,
        free=allowed - used,
        returns=tuple(sorted(steps.items())),
    )
