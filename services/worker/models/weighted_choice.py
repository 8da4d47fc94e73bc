"""The order of the models in weighted steps of a chain, and the cooldown of failed providers (REQUIREMENTS A7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import log

from penstock.runtime.config.catalogue import Model, RoleConfig, WeightedStep

__all__ = ["ProviderCooldown", "order_by_rank", "weighted_order"]


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


class ProviderCooldown:
    """Ranks the models of weighted steps by recent failures. Times are monotonic seconds.

    After a failure of a model in a weighted step, all models of its provider rank behind the others in every weighted
    step, for `cooldown_s` from the last failure. They stay in the chain: if no other model of the step can be called,
    the breakers decide whether they are.
    """

    def __init__(self, models: Mapping[str, Model], roles: Iterable[RoleConfig], cooldown_s: float) -> None:
        weighted = {model for role in roles for step in role.weighted for model in step.models}
        self._providers = {model: models[model].provider for model in weighted}
        self._cooldown_s = cooldown_s
        self._provider_until_s: dict[str, float] = {}
        self._model_until_s: dict[str, float] = {}
        """Only of models that failed themselves."""

    def record_failure(self, model: str, now_s: float) -> str | None:
        """Record a failure that indicates an unhealthy provider; returns the provider if its cooldown starts now."""
        provider = self._providers.get(model)
        if provider is None:
            return None
        starts = now_s >= self._provider_until_s.get(provider, now_s)
        self._provider_until_s[provider] = self._model_until_s[model] = now_s + self._cooldown_s
        return provider if starts else None

    def rank(self, model: str, now_s: float) -> int:
        """0: no recent failure. 1: another model of the provider failed. 2: the model itself failed."""
        if now_s >= self._provider_until_s.get(self._providers[model], now_s):
            return 0
        return 2 if now_s < self._model_until_s.get(model, now_s) else 1
