"""Divides the tokens that a provider counted for a batch among the requests in it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["divided"]


def divided(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in parts in proportion to `weights`, which are not negative. The parts sum up to `total` exactly, and
    each is less than one away from its proportion. Without any weight the parts are equal.
    """
    if not any(weights):
        weights = [1] * len(weights)
    whole = sum(weights)
    parts, given, weight = [], 0, 0
    for each in weights:
        weight += each
        until = total * weight // whole
        parts.append(until - given)
        given = until
    return parts
