"""Complexity of a request (B2): simple, medium or complex."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from penstock.contract.names import COMPLEXITIES, Complexity
from penstock.runtime.config.routing import Routing
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
    return Assessment(complexity, "; ".join(reasons) or "a short text without code")


def _reasons(features: Features, routing: Routing) -> Iterator[str]:
    evidence = features.evidence
    if features.text_characters > routing.simple_max_characters:
        yield f"{features.text_characters:,} characters"
    if evidence.code.enough:
        yield f"code: {', '.join(evidence.code.labels)}"
    if evidence.debugging.points:
        yield f"debugging: {', '.join(evidence.debugging.labels)}"
    if evidence.design.points:
        yield f"design: {', '.join(evidence.design.labels)}"
