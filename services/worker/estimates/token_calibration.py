"""What the usage that providers report teaches about our estimates of tokens."""

from __future__ import annotations

__all__ = ["Calibration"]


class Calibration:
    """What true usage has taught about the estimates of each model: a factor, smoothed and bounded.

    Feed it with estimates as the router made them, not with corrected ones.
    """

    def __init__(self, *, weight: float = 0.2, least: float = 0.3, most: float = 3.0) -> None:
        """`weight`: the share of the newest observation in the exponentially weighted mean."""
        self._weight = weight
        self._least = least
        self._most = most
        self._factors: dict[str, float] = {}

    def observe(self, model: str, *, estimated_tokens: int, true_tokens: int) -> None:
        """Learn from one answer. An answer without usage (0 tokens) teaches nothing."""
        if estimated_tokens <= 0 or true_tokens <= 0:
            return
        seen = min(self._most, max(self._least, true_tokens / estimated_tokens))
        factor = self.factor(model)
        self._factors[model] = factor + self._weight * (seen - factor)

    def factor(self, model: str) -> float:
        """1.0 for a model that nothing is known about."""
        return self._factors.get(model, 1.0)

    def corrected(self, model: str, estimated_tokens: int) -> int:
        """The estimate as it should be for `model`."""
        return round(estimated_tokens * self.factor(model))
