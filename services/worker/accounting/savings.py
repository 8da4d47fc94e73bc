"""What the choice of a model saved (REQUIREMENTS B2, F4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from penstock.runtime.config.catalogue import Model

__all__ = ["saved_by_routing_microusd"]

_MILLION: Final = 1_000_000


def saved_by_routing_microusd(
    chain: Iterable[str], models: Mapping[str, Model], chosen: str, input_tokens: int, output_tokens: int
) -> int:
    """What the dearest model of the chain would have cost for these tokens, less what the chosen one costs.

    Whole micro-dollars, rounded down, never negative (F4). Takes no account of cached input.
    """

    def cost(key: str) -> int:
        price = models[key].price
        return price.input * input_tokens + price.output * output_tokens

    dearest = max(map(cost, chain), default=0)
    return max(0, dearest - cost(chosen)) // _MILLION
