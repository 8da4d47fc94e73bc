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
_LEAST_TOKENS: Final = 50
"""A shorter answer says little of the rate: most of its time is that to its first token."""
_FEW_TOKENS: Final = 10
"""The time of an answer up to this long is the time to its first token."""
_SLOWEST_PER_S: Final = 1.0
_FASTEST_PER_S: Final = 5000.0
"""A model does not generate faster; such an answer comes from a cache. The fastest published figures are about 3,000
tokens per second (Cerebras, gpt-oss-120b, 2026).
"""
_USUAL_PER_S: Final = 100.0
"""The rate of a model that is not known: most hosted models generate 50 to 200 tokens per second."""
_MOST_GROWTH: Final = 2.0
"""An observation counts with at most so many times the mean: one odd answer changes the mean by at most a fifth."""


class _Rate(Struct):
    """Output tokens per second of finished calls, after the first token."""

    mean: float
    deviation: float
    """The mean of the distances from the mean."""


class OutputRate:
    """Output tokens per second of each model, measured on finished calls.

    A provider counts the tokens it generated for an aborted call too; ignoring them would exceed the limit.
    """

    def __init__(self) -> None:
        self._rates: dict[str, _Rate] = {}
        self._delays_s: dict[str, float] = {}
        """Mean time to the first token, by model."""

    def observe(self, model: str, *, tokens: int, took_s: float, first_s: float | None = None) -> None:
        """Record a finished call. `first_s`: seconds to its first token; None if it did not stream."""
        if tokens <= 0 or took_s <= 0:
            return
        if first_s is None and tokens <= _FEW_TOKENS:
            first_s = took_s
        if first_s is not None:
            delay_s = self._delays_s.get(model, first_s)
            self._delays_s[model] = delay_s + _WEIGHT * (first_s - delay_s)
        if tokens < _LEAST_TOKENS:
            return
        delay_s = self._delays_s.get(model, 0.0) if first_s is None else first_s
        observed = tokens / _generating_s(took_s, delay_s)
        if not _SLOWEST_PER_S <= observed <= _FASTEST_PER_S:
            return
        rate = self._rates.get(model)
        if rate is None:
            self._rates[model] = _Rate(observed, observed / 2)  # as RFC 6298 begins
            return
        distance = min(observed, _MOST_GROWTH * rate.mean) - rate.mean
        rate.deviation += _WEIGHT * (abs(distance) - rate.deviation)
        rate.mean += _WEIGHT * distance

    def estimate(self, model: str, *, after_s: float, most: int) -> int:
        """Estimated tokens of a call after `after_s`, at a usual rate if that of the model is not known."""
        rate = self._rates.get(model)
        generating_s = _generating_s(after_s, self._delays_s.get(model, 0.0))
        return _tokens(_USUAL_PER_S if rate is None else rate.mean, generating_s, most)

    def upper_estimate(self, model: str, *, after_s: float, most: int) -> int:
        """Tokens that few calls exceed after `after_s`, `most` if the rate of the model is not known; `estimate` is the
        mean.
        """
        rate = self._rates.get(model)
        return most if rate is None else _tokens(rate.mean + _DEVIATIONS * rate.deviation, after_s, most)


def _generating_s(took_s: float, delay_s: float) -> float:
    """The time without that to the first token, at least half: a model may generate hidden text before, or send all of
    its text at the end.
    """
    return max(took_s / 2, took_s - delay_s)


def _tokens(per_s: float, after_s: float, most: int) -> int:
    return min(most, round(per_s * max(0.0, after_s)))
