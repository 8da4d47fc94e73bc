"""Models that their provider no longer serves or does not list (A5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from penstock.runtime.config.catalogue import Model
from services.worker.providers.model_list import ModelList

__all__ = ["RECHECK_S", "Roster", "RosterChange"]

RECHECK_S: Final = 600.0
"""Seconds after which a withdrawn model may be called again, because providers restore models."""


class RosterChange(Struct, frozen=True):
    """A model was withdrawn or restored; reported once in the log, the metric and an event."""

    model: str
    """Key in the catalogue."""
    withdrawn: bool


class Roster:
    """The withdrawn models of the catalogue, known from the 404s of their providers.

    Only a rejected call withdraws a model: a list may be empty, truncated, or spell names differently. A list that
    names a withdrawn model does not restore it before the withdrawal lapses, because some providers list models that a
    key may not use. A lapsed withdrawal admits calls again; the model counts as restored once a call is answered or a
    list names it. A model that is not in the catalogue raises KeyError.
    """

    def __init__(self, models: Mapping[str, Model], recheck_s: float = RECHECK_S) -> None:
        self._models = models
        self._recheck_s = recheck_s
        self._until_s: dict[str, float] = {}
        """Time at which each withdrawal lapses."""
        self._unlisted: set[str] = set()

    def is_withdrawn(self, model: str, now_s: float) -> bool:
        """Whether to skip the model in the chain now."""
        return now_s < self._until_s.get(model, now_s)

    def observe_list(self, provider: str, served: ModelList | None, now_s: float) -> tuple[RosterChange, ...]:
        """Record a provider's list; None (the request for it failed) changes nothing."""
        if served is None:
            return ()
        restored = (
            self.record_answer(key)
            for key in self._keys(provider)
            if not self.is_withdrawn(key, now_s) and served.lists_model(self._models[key].name or key)
        )
        return tuple(change for change in restored if change is not None)

    def newly_unlisted(self, provider: str, served: ModelList | None) -> tuple[str, ...]:
        """The models that a provider's list lacks for the first time. They are still called."""
        if served is None or not served.is_conclusive:
            return ()
        keys = self._keys(provider)
        missing = {key for key in keys if not served.lists_model(self._models[key].name or key)}
        new = tuple(key for key in keys if key in missing - self._unlisted)
        self._unlisted = (self._unlisted - set(keys)) | missing
        return new

    def record_not_found(self, model: str, now_s: float) -> RosterChange | None:
        """Record a call rejected because the model does not exist."""
        if model not in self._models:
            raise KeyError(model)
        known = model in self._until_s
        self._until_s[model] = now_s + self._recheck_s
        return None if known else RosterChange(model, withdrawn=True)

    def record_answer(self, model: str) -> RosterChange | None:
        """Record an answered call, which ends a withdrawal."""
        return None if self._until_s.pop(model, None) is None else RosterChange(model, withdrawn=False)

    def _keys(self, provider: str) -> tuple[str, ...]:
        return tuple(key for key, model in self._models.items() if model.provider == provider)
