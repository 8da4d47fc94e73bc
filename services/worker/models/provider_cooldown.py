"""The cooldown of providers whose models failed in weighted steps of a chain (A7)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from penstock.runtime.config.catalogue import Model, RoleConfig

__all__ = ["ProviderCooldown"]


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
