"""How demanding a request is (REQUIREMENTS B2): which end of a chain should answer it."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from penstock.contract.names import COMPLEXITIES, Complexity
from penstock.runtime.config.catalogue import Routing
from services.router.routing.features import Features

__all__ = ["Assessment", "assess"]


class Assessment(Struct, frozen=True):
    complexity: Complexity
    why: str


def assess(features: Features, routing: Routing) -> Assessment:
    """One point each for length, code, debugging and design: none is simple, one medium, more complex.

    The length is that of the last user message: a long system prompt does not make its requests hard.
    """
    reasons = list(_reasons(features, routing))
    complexity = COMPLEXITIES[min(len(reasons), len(COMPLEXITIES) - 1)]
    return Assessment(complexity, "; ".join(reasons) or "short and plain")


def _reasons(features: Features, routing: Routing) -> Iterator[str]:
    signs = features.signs
    if features.text_characters > routing.complex_characters:
        yield f"{features.text_characters:,} characters"
    if signs.code.enough:
        yield f"code: {', '.join(signs.code.evidence)}"
    if signs.debugging.points:
        yield f"debugging: {', '.join(signs.debugging.evidence)}"
    if signs.design.points:
        yield f"design: {', '.join(signs.design.evidence)}"
