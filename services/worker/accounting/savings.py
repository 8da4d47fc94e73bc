"""Cost saved by the choice of the model (REQUIREMENTS B2, F4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from penstock.runtime.config.catalogue import Model

__all__ = ["saved_by_routing_microusd"]

_MILLION: Final = 1_000_000


def saved_by_routing_microusd(
    chain: Iterable[str], models: Mapping[str, Model], chosen: str, input_tokens: int, output_tokens: int
) -> int:
    """The cost of these tokens on the most expensive model of the chain, minus their cost on the chosen one.

    Whole micro-dollars, rounded down, never negative (F4). Cached input is ignored.
    """

    def cost(key: str) -> int:
        price = models[key].price
        return price.input * input_tokens + price.output * output_tokens

    highest = max(map(cost, chain), default=0)
    return max(0, highest - cost(chosen)) // _MILLION
