"""`GET /v1/models`: what the field `model` of a request may name, as OpenAI lists models."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, Literal

from penstock.contract.names import AUTO, implicit_role
from penstock.runtime.config.catalogue import Catalogue, Model, Price
from penstock.runtime.config.retrieval import Embedding
from services.edge.listing.live_workers import LiveWorkers

__all__ = ["ModelList"]

_MICRO: Final = 1_000_000


class ModelList:
    """`auto`, the roles and the models. `penstock` in each entry has what OpenAI's shape has no place for."""

    def __init__(self, catalogue: Catalogue, workers: LiveWorkers) -> None:
        self._catalogue = catalogue
        self._workers = workers
        self._roles = catalogue.roles
        self._models = _models(catalogue)
        self.roles = (AUTO, *self._roles)

    def all(self, now_s: float) -> list[dict[str, Any]]:
        served = self._workers.served(now_s)
        served |= frozenset(self._catalogue.implicit_roles_of(served))
        withdrawn = self._workers.withdrawn(now_s)
        roles = {name: self._role(role.chain, withdrawn) for name, role in self._roles.items()}
        models = {name: self._role(chain, withdrawn) for name, chain in self._models.items()}
        return [
            _entry(AUTO, "role", {"available": bool(served), **self._auto(roles)}),
            *(_entry(name, "role", {"available": name in served, **facts}) for name, facts in roles.items()),
            *(
                _entry(name, "model", {"available": implicit_role(name) in served, **facts})
                for name, facts in models.items()
            ),
        ]

    def get(self, name: str, now_s: float) -> dict[str, Any] | None:
        return next((entry for entry in self.all(now_s) if entry["id"] == name), None)

    def _auto(self, roles: dict[str, dict[str, Any]]) -> dict[str, Any]:
        of_auto = self._catalogue.roles_of_auto()
        chosen = {name: facts for name, facts in roles.items() if name in of_auto}
        return {
            "requests": "chat",
            "roles": list(chosen),
            "context_tokens": max((facts["context_tokens"] for facts in chosen.values()), default=0),
            "vision": any(facts["vision"] for facts in chosen.values()),
        }

    def _role(self, chain: Collection[str], withdrawn: frozenset[str]) -> dict[str, Any]:
        models = [_model(key, self._catalogue.models[key], withdrawn) for key in chain]
        embedding = self._catalogue.models[next(iter(chain))].embedding
        return {
            "requests": "chat" if embedding is None else "embed",
            **({} if embedding is None else _vectors(embedding)),
            "chain": models,
            "context_tokens": max(model["context_tokens"] for model in models),
            "vision": any(model["vision"] for model in models),
        }


def _models(catalogue: Catalogue) -> dict[str, tuple[str, ...]]:
    """The chain of each model, without those that a role hides by its name."""
    return {
        name: (name, *model.fallbacks) for name, model in catalogue.models.items() if catalogue.is_model(name)
    }


def _model(key: str, model: Model, withdrawn: frozenset[str]) -> dict[str, Any]:
    return {
        "model": key,
        "provider": model.provider,
        "available": key not in withdrawn,
        "context_tokens": model.context_tokens,
        "vision": model.supports_vision,
        "usd_per_million_tokens": None if model.price is None else _usd(model.price),
    }


def _vectors(embedding: Embedding) -> dict[str, Any]:
    return {"dimensions": embedding.dimensions, "shortens": embedding.shortens}


def _usd(price: Price) -> dict[str, float]:
    cached = price.input if price.cached_input is None else price.cached_input
    return {
        "input": price.input / _MICRO,
        "cached_input": cached / _MICRO,
        "output": price.output / _MICRO,
    }


def _entry(name: str, kind: Literal["role", "model"], facts: dict[str, Any]) -> dict[str, Any]:
    about = {"kind": kind, **facts}
    return {"id": name, "object": "model", "created": 0, "owned_by": "penstock", "penstock": about}
