"""The order of the models in weighted steps of a chain (A7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log

from penstock.runtime.config.catalogue import WeightedStep

__all__ = ["order_by_rank", "weighted_order"]


def weighted_order(
    chain: Sequence[str], steps: Sequence[WeightedStep], random: Callable[[], float]
) -> tuple[str, ...]:
    """The chain with the models of each weighted step in a weighted random order; `random` returns [0, 1).

    Models are sorted by an exponential variate divided by their weight (Efraimidis and Spirakis, "Weighted random
    sampling with a reservoir", 2006). So the first is drawn by the weights, the second by the weights of the remaining
    models, and so on: if some models cannot be called, the others share their part by weight.
    """

    def keys(step: WeightedStep) -> dict[str, float]:
        return {model: -log(1.0 - random()) / weight for model, weight in step.shares.items()}

    return _rearranged(chain, steps, lambda step: keys(step).__getitem__)


def order_by_rank(
    chain: Sequence[str], steps: Sequence[WeightedStep], rank: Callable[[str], int]
) -> tuple[str, ...]:
    """The chain with the models of each weighted step sorted by rank, stable within equal ranks."""
    return _rearranged(chain, steps, lambda _: rank)


def _rearranged(
    chain: Sequence[str],
    steps: Sequence[WeightedStep],
    key_of: Callable[[WeightedStep], Callable[[str], float]],
) -> tuple[str, ...]:
    """Sort the models of each step within the positions they occupy in the chain, which are adjacent."""
    models = list(chain)
    for step in steps:
        members = [model for model in chain if model in step.models]
        if len(members) > 1:
            first = models.index(members[0])
            present = models[first : first + len(members)]
            models[first : first + len(members)] = sorted(present, key=key_of(step))
    return tuple(models)
