"""`GET /v1/models`: what the field `model` of a request may name, as OpenAI lists models."""

from __future__ import annotations

from typing import Any, Final

from penstock.contract.names import AUTO, EMBED
from penstock.runtime.config.catalogue import Catalogue, Model, RoleConfig
from services.edge.listing.live_workers import LiveWorkers

__all__ = ["ModelList"]

_MICRO: Final = 1_000_000


class ModelList:
    """Roles first, then models. `penstock` in each entry has what OpenAI's shape has no place for."""

    def __init__(self, catalogue: Catalogue, workers: LiveWorkers) -> None:
        self._catalogue = catalogue
        self._workers = workers

    def all(self, now_s: float) -> list[dict[str, Any]]:
        served = self._workers.roles(now_s)
        withdrawn = self._workers.withdrawn_models(now_s)
        catalogue = self._catalogue
        roles = {name: role for name, role in catalogue.roles.items() if name != EMBED}
        return [
            _entry(AUTO, "penstock", {"kind": "role", "available": bool(served)}),
            *(self._role(name, role, is_served=name in served) for name, role in roles.items()),
            *(_model(key, model, withdrawn) for key, model in catalogue.models.items()),
        ]

    def get(self, name: str, now_s: float) -> dict[str, Any] | None:
        return next((entry for entry in self.all(now_s) if entry["id"] == name), None)

    def _role(self, name: str, role: RoleConfig, *, is_served: bool) -> dict[str, Any]:
        models = [self._catalogue.models[key] for key in role.chain]
        facts = {
            "kind": "role",
            "available": is_served,
            "chain": role.chain,
            "context_tokens": max(model.context_tokens for model in models),
            "vision": any(model.supports_vision for model in models),
        }
        return _entry(name, "penstock", facts)


def _model(key: str, model: Model, withdrawn: frozenset[str]) -> dict[str, Any]:
    price = model.price
    cached = price.input if price.cached_input is None else price.cached_input
    facts = {
        "kind": "model",
        "available": key not in withdrawn,
        "context_tokens": model.context_tokens,
        "vision": model.supports_vision,
        "usd_per_million_tokens": {
            "input": price.input / _MICRO,
            "cached_input": cached / _MICRO,
            "output": price.output / _MICRO,
        },
    }
    return _entry(key, model.provider, facts)


def _entry(name: str, owner: str, facts: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": owner, "penstock": facts}
