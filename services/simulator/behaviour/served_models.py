"""The served models and their current behaviour."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from services.simulator.behaviour.errors import error_of, flaky_fails, flapping_fails, overloaded
from services.simulator.behaviour.model_names import (
    HEALTHY,
    Behaviour,
    ModelName,
    UnknownBehaviourError,
    parse_behaviour,
    parse_model,
)
from services.simulator.http.errors import ApiError, model_not_found

__all__ = ["DEFAULT_MODELS", "ServedModels"]

DEFAULT_MODELS: Final = (
    "sim-chat-large",
    "sim-chat-small",
    "sim-logic-large",
    "sim-logic-small",
    "sim-coding-large",
    "sim-coding-small",
    "sim-vision-large",
    "sim-vision-small",
    "sim-long-large",
    "sim-long-small",
    "sim-fast-small",
    "sim-creative-large--503",
    "sim-creative-small",
    "sim-reasoning-large",
    "sim-reasoning-small",
    "sim-safety-large",
    "sim-safety-small",
    "sim-embed-large",
    "sim-embed-small",
)
_MAX_REQUESTED: Final = 1000
"""Maximum number of requested model names that are listed beside the default ones."""


class ServedModels:
    def __init__(self, models: Iterable[str] = ()) -> None:
        self._served = dict.fromkeys(models)
        """Empty: any name is served."""
        self._requested: dict[str, None] = {}
        self._overrides: dict[str, Behaviour] = {}
        self._flaky_attempts: dict[str, int] = {}
        self._flapping_since_s: dict[str, float] = {}

    def serve(self, models: Iterable[str]) -> None:
        """Serve exactly these models from now on; an empty list serves any name."""
        self._served = dict.fromkeys(models)

    def override(self, behaviours: dict[str, str]) -> dict[str, str]:
        """Set the behaviour of plain model names; an empty text removes it. Returns all overrides in force.
        Raises UnknownBehaviourError before it changes any of them.
        """
        parsed = {model: parse_behaviour(text) if text else None for model, text in behaviours.items()}
        for model, behaviour in parsed.items():
            self._flaky_attempts.pop(model, None)
            self._flapping_since_s.pop(model, None)
            if behaviour is None:
                self._overrides.pop(model, None)
            else:
                self._overrides[model] = behaviour
        return {model: str(behaviour) for model, behaviour in self._overrides.items()}

    def restart(self) -> None:
        """Restart the sequences of flaky and flapping models."""
        self._flaky_attempts.clear()
        self._flapping_since_s.clear()

    def find(self, model: str) -> ModelName:
        """The served model of that name; raises a 404 ApiError if there is none."""
        try:
            name = parse_model(model)
        except UnknownBehaviourError as error:
            raise model_not_found(model, f"({error})") from None
        if self._served:
            if name.base not in self._served and name.full not in self._served:
                raise model_not_found(model)
        elif len(self._requested) < _MAX_REQUESTED:
            self._requested[model] = None
        return name

    def behaviour(self, name: ModelName) -> Behaviour:
        return name.behaviour or self._overrides.get(name.base, HEALTHY)

    def next_error(self, name: ModelName, now_s: float) -> ApiError | None:
        """Count an attempt on this model; returns the error that its behaviour prescribes for it, if any."""
        behaviour = self.behaviour(name)
        fails = False
        if behaviour.kind == "flaky":
            attempt = self._flaky_attempts.get(name.full, 0)
            self._flaky_attempts[name.full] = attempt + 1
            fails = flaky_fails(attempt, behaviour.value)
        elif behaviour.kind == "flapping":
            since_s = self._flapping_since_s.setdefault(name.full, now_s)
            fails = flapping_fails(since_s, now_s, behaviour.value)
        return overloaded() if fails else error_of(behaviour, name.full)

    def listed(self) -> list[str]:
        """The models of GET /v1/models; withdrawn models are left out."""
        names = self._served or dict.fromkeys((*DEFAULT_MODELS, *self._requested))
        return [name for name in names if self._is_listed(name)]

    def _is_listed(self, model: str) -> bool:
        try:
            return self.behaviour(parse_model(model)).kind != "withdrawn"
        except UnknownBehaviourError:
            return False
