"""How long one attempt may take of the time that is left, so that another can still be made (REQUIREMENTS D1)."""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec.structs import replace

from penstock.runtime.config.catalogue import Timeouts

__all__ = ["AnswerTimes", "shortened"]

_PART: Final = 0.5
"""The part of the time left that an attempt may take ..."""
_LARGEST_PART: Final = 0.9
"""... or as large a part as the role's limit is of its whole time, up to this."""
_ABOVE_USUAL: Final = 1.5
"""So many times as long as the slowest of the latest answers is never cut short."""
_REMEMBERED: Final = 20


class AnswerTimes:
    """Of each model, how long its latest answers took: streams to their first token, whole replies to their end."""

    def __init__(self) -> None:
        self._latest: dict[tuple[str, bool], deque[float]] = {}

    def add(self, model: str, took_s: float, *, stream: bool) -> None:
        self._latest.setdefault((model, stream), deque(maxlen=_REMEMBERED)).append(took_s)

    def slowest_s(self, model: str, *, stream: bool) -> float:
        """0 where none is known."""
        return max(self._latest.get((model, stream), (0.0,)))


def shortened(timeouts: Timeouts, left_s: float, usual_s: float) -> Timeouts:
    """The limits of an attempt behind which another one shall have its time, with `left_s` to the deadline.

    `usual_s`: how long an answer of the model may take.
    """
    first_s, whole_s = (
        min(limit_s, max(left_s * _part(limit_s, timeouts.total_s), _ABOVE_USUAL * usual_s))
        for limit_s in (timeouts.first_token_s, timeouts.whole_s)
    )
    if first_s == timeouts.first_token_s and whole_s == timeouts.whole_s:
        return timeouts
    return replace(timeouts, first_token_s=round(first_s, 3), whole_s=round(whole_s, 3))


def _part(limit_s: float, total_s: float) -> float:
    return min(_LARGEST_PART, max(_PART, limit_s / total_s)) if total_s > 0 else _PART
