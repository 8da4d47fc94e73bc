"""Providers that failed are not drawn for a while (REQUIREMENTS A7)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from penstock.runtime.config.catalogue import Model, RoleConfig

__all__ = ["SitOut"]


class SitOut:
    """Which models stand behind the others of their weighted step. Instants are seconds of one monotonic clock.

    A failure of a model in some weighted step puts its provider aside, that is all models of the provider, in every
    weighted step, for `sit_out_s` from the last failure on. Nothing else ends it. Being set back is not being shut
    out: where no other model of the step can be called, the usual order and the breakers decide.
    """

    def __init__(self, models: Mapping[str, Model], roles: Iterable[RoleConfig], sit_out_s: float) -> None:
        weighted = {model for role in roles for step in role.weighted for model in step.models}
        self._providers = {model: models[model].provider for model in weighted}
        self._sit_out_s = sit_out_s
        self._until_s: dict[str, float] = {}
        """By provider, and by model for those that failed themselves."""

    def failed(self, model: str, now_s: float) -> str | None:
        """A call failed in a way that speaks against its provider's health: the provider, if it was not out yet."""
        provider = self._providers.get(model)
        if provider is None:
            return None
        news = not self._is_out(_provider(provider), now_s)
        self._until_s[_provider(provider)] = self._until_s[_model(model)] = now_s + self._sit_out_s
        return provider if news else None

    def rank(self, model: str, now_s: float) -> int:
        """0: it may be drawn. 1: its provider failed elsewhere. 2: it failed itself, so a sister of the same provider
        goes before it.
        """
        if not self._until_s or not self._is_out(_provider(self._providers[model]), now_s):
            return 0
        return 2 if self._is_out(_model(model), now_s) else 1

    def _is_out(self, name: str, now_s: float) -> bool:
        return now_s < self._until_s.get(name, now_s)


def _provider(name: str) -> str:
    return f"provider {name}"


def _model(name: str) -> str:
    return f"model {name}"
