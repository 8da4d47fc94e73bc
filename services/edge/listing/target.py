"""What the field `model` of a request names: a role, a role with a complexity, or a model of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from penstock.contract.names import AUTO, COMPLEXITIES, Complexity
from penstock.runtime.config.catalogue import Catalogue

__all__ = ["Target", "target_of"]

_COMPLEXITIES: Final[Mapping[str, Complexity]] = {complexity: complexity for complexity in COMPLEXITIES}


class Target(Struct, frozen=True):
    """A role, or a model; as the fields of a request on the bus."""

    role: str = AUTO
    model: str = ""
    complexity: Complexity | None = None

    @property
    def name(self) -> str:
        return self.model or self.role


def target_of(text: str, catalogue: Catalogue) -> Target:
    """A name that a role and a model have is the role's. One that neither has counts as a role: the router says that
    there is none. A colon is part of a model's name, and what follows the last one of a role's is its complexity.
    """
    if catalogue.is_model(text):
        return Target(model=text)
    name, _, last = text.rpartition(":")
    complexity = _COMPLEXITIES.get(last)
    if name and complexity is not None and not catalogue.is_model(name):
        return Target(role=name, complexity=complexity)
    return Target(role=text)
