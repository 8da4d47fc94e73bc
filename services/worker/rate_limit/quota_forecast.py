"""Forecast of one quota as presence reports it: when how much is free again, if nothing more is spent."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from math import ceil
from typing import Final

from msgspec import Struct

from penstock.contract.presence import Recovery
from penstock.contract.request import LONGEST_WAIT_S

__all__ = ["KeyForecast", "recovery"]

_FINE_S: Final = 120
"""Seconds for which the forecast has one step per second: all that limits per minute return."""
_SHARE: Final = 0.05
"""Length of a later step, as a share of its distance: the router's safety margin covers that error."""


def _grid_ms() -> tuple[int, ...]:
    """Ends of the steps, up to the longest wait there is: about 250."""
    ends_s = list(range(1, _FINE_S + 1))
    while ends_s[-1] < LONGEST_WAIT_S:
        ends_s.append(min(LONGEST_WAIT_S, ceil(ends_s[-1] * (1 + _SHARE))))
    return tuple(end_s * 1000 for end_s in ends_s)


_GRID_MS: Final = _grid_ms()
"""Ends of the steps in milliseconds; an amount that returns within a step is reported at its end."""


class KeyForecast(Struct, frozen=True):
    """What one key will admit."""

    recoveries: tuple[Recovery, ...] = ()
    paused_s: float = 0.0
    """Seconds left of a pause."""
    concurrency: int | None = None
    source: str | None = None
    """The shared record; None: this process counts for itself."""


def recovery(
    limit: str, window_s: float, allowed: int, used: int, returns: Iterable[tuple[float, int]]
) -> Recovery:
    """Build the message. `returns`: in so many seconds, so much of `used` is free again; in any order."""
    steps: dict[int, int] = {}
    for after_s, amount in returns:
        place = bisect_left(_GRID_MS, after_s * 1000)
        if amount > 0 and place < len(_GRID_MS):
            steps[_GRID_MS[place]] = steps.get(_GRID_MS[place], 0) + amount
    return Recovery(
        limit=limit,
        window_ms=round(window_s * 1000),
        allowed=allowed,
        free=allowed - used,
        returns=tuple(sorted(steps.items())),
    )
