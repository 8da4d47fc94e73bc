"""Models their provider no longer serves (REQUIREMENTS A5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from penstock.config.catalogue import Model

__all__ = ["RECHECK_S", "Change", "Roster", "split"]

RECHECK_S: Final = 600.0
"""After this long a withdrawn model may be asked again: providers bring models back."""


def split(
    keys: Iterable[str], models: Mapping[str, Model], served: frozenset[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The models of the catalogue that are served, and those that are withdrawn, both in their order.

    `served` is the provider's own list of its own names; None, if it could not be asked, withdraws nothing.
    """
    keys = tuple(keys)
    if served is None:
        return keys, ()
    present = {key for key in keys if (models[key].name or key) in served}
    return tuple(key for key in keys if key in present), tuple(key for key in keys if key not in present)


class Change(Struct, frozen=True):
    """A model was withdrawn or came back: told once, for the log, the metric and the event."""

    model: str
    """The catalogue's key."""
    withdrawn: bool


class _Mark(Struct):
    """A withdrawal: when it lapses, and whether a call was refused or the list merely lacked the model."""

    until_s: float
    refused: bool


class Roster:
    """Which models of the catalogue are withdrawn, from the providers' lists and from their 404s.

    A 404 outweighs a list that still names the model (some list what a key may not use) until it lapses. A
    withdrawal that lapsed lets calls through again; it is over, and told as such, only when one is answered
    or a list names the model. A model that is not in the catalogue raises KeyError.
    """

    def __init__(self, models: Mapping[str, Model], recheck_s: float = RECHECK_S) -> None:
        self._models = models
        self._recheck_s = recheck_s
        self._marks: dict[str, _Mark] = {}

    def is_withdrawn(self, model: str, now_s: float) -> bool:
        """Whether to leave it out of the chain now."""
        mark = self._marks.get(model)
        return mark is not None and now_s < mark.until_s

    def listed(self, provider: str, names: frozenset[str] | None, now_s: float) -> tuple[Change, ...]:
        """Take in a provider's list of its own names; None, if it could not be asked, changes nothing."""
        if names is None:
            return ()
        keys = (key for key, model in self._models.items() if model.provider == provider)
        served, withdrawn = split(keys, self._models, names)
        changes = [
            *(self._back(key, now_s) for key in served),
            *(self._gone(key, now_s, refused=False) for key in withdrawn),
        ]
        return tuple(change for change in changes if change is not None)

    def not_found(self, model: str, now_s: float) -> Change | None:
        """A call was refused with 404 `model_not_found`."""
        return self._gone(model, now_s, refused=True)

    def answered(self, model: str) -> Change | None:
        """A call was answered: whatever was believed, it is served."""
        return Change(model, withdrawn=False) if self._marks.pop(model, None) else None

    def _gone(self, model: str, now_s: float, *, refused: bool) -> Change | None:
        if model not in self._models:
            raise KeyError(model)
        known = self._marks.get(model)
        refused = refused or self._refused(model, now_s)
        self._marks[model] = _Mark(now_s + self._recheck_s, refused)
        return Change(model, withdrawn=True) if known is None else None

    def _back(self, model: str, now_s: float) -> Change | None:
        return None if self._refused(model, now_s) else self.answered(model)

    def _refused(self, model: str, now_s: float) -> bool:
        mark = self._marks.get(model)
        return mark is not None and mark.refused and now_s < mark.until_s
