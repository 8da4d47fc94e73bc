"""Estimates of the output of calls that broke off, by the rate of finished ones."""

from __future__ import annotations

from typing import Final

__all__ = ["OutputRate"]

_WEIGHT: Final = 0.2
"""Weight of the newest call in the exponentially weighted mean."""


class OutputRate:
    """Output tokens per second of each model, measured on finished calls.

    A provider counts the tokens it generated for an aborted call too; ignoring them would exceed the limit.
    """

    def __init__(self) -> None:
        self._per_s: dict[str, float] = {}

    def observe(self, model: str, *, tokens: int, took_s: float) -> None:
        """Record a finished call."""
        if tokens <= 0 or took_s <= 0:
            return
        observed = tokens / took_s
        mean = self._per_s.get(model, observed)
        self._per_s[model] = mean + _WEIGHT * (observed - mean)

    def estimate(self, model: str, *, after_s: float, most: int) -> int:
        """Estimated tokens of a call after `after_s`; `most` if no call of the model has finished."""
        per_s = self._per_s.get(model)
        return most if per_s is None else min(most, round(per_s * max(0.0, after_s)))
