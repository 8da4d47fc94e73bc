"""Models that their provider no longer serves, and those that it does not list (REQUIREMENTS A5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from penstock.runtime.config.catalogue import Model
from services.worker.providers.model_list import ModelList

__all__ = ["RECHECK_S", "Change", "Roster"]

RECHECK_S: Final = 600.0
"""After this long a withdrawn model may be asked again: providers bring models back."""


class Change(Struct, frozen=True):
    """A model was withdrawn or came back: told once, for the log, the metric and the event."""

    model: str
    """The catalogue's key."""
    withdrawn: bool


class Roster:
    """Which models of the catalogue are withdrawn, by their providers' 404s.

    Only a call that was refused withdraws a model: a list may be empty, cut, or write names in another form. A list
    that names a withdrawn model does not bring it back before the withdrawal lapses, as some list what a key may not
    use. A withdrawal that lapsed lets calls through again; it is over, and told as such, only when one is answered or a
    list names the model. A model that is not in the catalogue raises KeyError.
    """

    def __init__(self, models: Mapping[str, Model], recheck_s: float = RECHECK_S) -> None:
        self._models = models
        self._recheck_s = recheck_s
        self._until_s: dict[str, float] = {}
        """When each withdrawal lapses."""
        self._unlisted: set[str] = set()

    def is_withdrawn(self, model: str, now_s: float) -> bool:
        """Whether to leave it out of the chain now."""
        return now_s < self._until_s.get(model, now_s)

    def listed(self, provider: str, served: ModelList | None, now_s: float) -> tuple[Change, ...]:
        """Take in a provider's list; None, if it could not be asked, changes nothing."""
        if served is None:
            return ()
        back = (
            self.answered(key)
            for key in self._keys(provider)
            if not self.is_withdrawn(key, now_s) and served.names_model(self._models[key].name or key)
        )
        return tuple(change for change in back if change is not None)

    def newly_unlisted(self, provider: str, served: ModelList | None) -> tuple[str, ...]:
        """The models that a provider's list lacks and did not lack the time before. They are called as before."""
        if served is None or not served.says_who_is_missing:
            return ()
        keys = self._keys(provider)
        missing = {key for key in keys if not served.names_model(self._models[key].name or key)}
        new = tuple(key for key in keys if key in missing - self._unlisted)
        self._unlisted = (self._unlisted - set(keys)) | missing
        return new

    def not_found(self, model: str, now_s: float) -> Change | None:
        """A call was refused because the model is not there."""
        if model not in self._models:
            raise KeyError(model)
        known = model in self._until_s
        self._until_s[model] = now_s + self._recheck_s
        return None if known else Change(model, withdrawn=True)

    def answered(self, model: str) -> Change | None:
        """A call was answered: whatever was believed, it is served."""
        return None if self._until_s.pop(model, None) is None else Change(model, withdrawn=False)

    def _keys(self, provider: str) -> tuple[str, ...]:
        return tuple(key for key, model in self._models.items() if model.provider == provider)
