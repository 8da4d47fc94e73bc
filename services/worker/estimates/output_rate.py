"""How much an answer may have cost that nobody saw: of a call that broke off before its answer came."""

from __future__ import annotations

from typing import Final

__all__ = ["OutputPace"]

_WEIGHT: Final = 0.2
"""The share of the newest call in the exponentially weighted mean."""


class OutputPace:
    """Output tokens per second of each model, as finished calls have shown it.

    A provider counts what it has made, also when nobody waits for it any more. To take that for nothing would let
    more through than the limit.
    """

    def __init__(self) -> None:
        self._per_s: dict[str, float] = {}

    def observe(self, model: str, *, tokens: int, took_s: float) -> None:
        """Learn from a call that was finished."""
        if tokens <= 0 or took_s <= 0:
            return
        seen = tokens / took_s
        before = self._per_s.get(model, seen)
        self._per_s[model] = before + _WEIGHT * (seen - before)

    def made(self, model: str, *, after_s: float, most: int) -> int:
        """Tokens that a call has probably made after so long; all it may make, where nothing is known of the model."""
        per_s = self._per_s.get(model)
        return most if per_s is None else min(most, round(per_s * max(0.0, after_s)))
