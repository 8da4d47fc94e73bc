"""Estimates of tokens: calibration by the usage that providers report, and output of calls that broke off."""

from __future__ import annotations

from typing import Final

__all__ = ["OutputRate", "TokenCalibration"]

_WEIGHT: Final = 0.2
"""Weight of the newest call in the exponentially weighted mean."""


class TokenCalibration:
    """A smoothed and bounded correction factor per model.

    `observe` takes the router's original estimates, not corrected ones.
    """

    def __init__(self, *, weight: float = 0.2, least: float = 0.3, most: float = 3.0) -> None:
        """`weight`: weight of the newest observation in the exponentially weighted mean."""
        self._weight = weight
        self._least = least
        self._most = most
        self._factors: dict[str, float] = {}

    def observe(self, model: str, *, estimated_tokens: int, true_tokens: int) -> None:
        """Record the usage of one answer; an answer without usage (0 tokens) is ignored."""
        if estimated_tokens <= 0 or true_tokens <= 0:
            return
        observed = min(self._most, max(self._least, true_tokens / estimated_tokens))
        factor = self.factor(model)
        self._factors[model] = factor + self._weight * (observed - factor)

    def factor(self, model: str) -> float:
        """The correction factor; 1.0 for a model without observations."""
        return self._factors.get(model, 1.0)

    def corrected(self, model: str, estimated_tokens: int) -> int:
        """The corrected estimate for `model`."""
        return round(estimated_tokens * self.factor(model))


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
