"""Calibration of token estimates by the usage that providers report."""

from __future__ import annotations

__all__ = ["TokenCalibration"]


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
        return round(estimated_tokens * self._factors.get(model, 1.0))
