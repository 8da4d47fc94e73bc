"""Estimates of the output of calls that broke off, by the rate of finished ones."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

__all__ = ["OutputRate"]

_WEIGHT: Final = 0.2
"""Weight of the newest call in the exponentially weighted means."""
_DEVIATIONS: Final = 2.0
"""Number of mean deviations between the mean and the upper estimate. RFC 6298 derives the retransmission timeout of TCP
from the same two means, with 4: there a value above it is an error, here the sum over many calls counts.
"""


class _Rate(Struct):
    """Output tokens per second of finished calls."""

    mean: float
    deviation: float = 0.0
    """The mean of the distances from the mean."""


class OutputRate:
    """Output tokens per second of each model, measured on finished calls.

    A provider counts the tokens it generated for an aborted call too; ignoring them would exceed the limit.
    """

    def __init__(self) -> None:
        self._rates: dict[str, _Rate] = {}

    def observe(self, model: str, *, tokens: int, took_s: float) -> None:
        """Record a finished call."""
        if tokens <= 0 or took_s <= 0:
            return
        observed = tokens / took_s
        rate = self._rates.setdefault(model, _Rate(observed))
        distance = observed - rate.mean
        rate.deviation += _WEIGHT * (abs(distance) - rate.deviation)
        rate.mean += _WEIGHT * distance

    def estimate(self, model: str, *, after_s: float, most: int) -> int:
        """Estimated tokens of a call after `after_s`; `most` if no call of the model has finished."""
        rate = self._rates.get(model)
        return most if rate is None else _tokens(rate.mean, after_s, most)

    def upper_estimate(self, model: str, *, after_s: float, most: int) -> int:
        """Tokens that few calls exceed after `after_s`; `estimate` is the mean."""
        rate = self._rates.get(model)
        return most if rate is None else _tokens(rate.mean + _DEVIATIONS * rate.deviation, after_s, most)


def _tokens(per_s: float, after_s: float, most: int) -> int:
    return min(most, round(per_s * max(0.0, after_s)))
