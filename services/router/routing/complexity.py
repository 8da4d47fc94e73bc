"""Complexity of a request (B2): simple, medium or complex."""

from __future__ import annotations

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
    reasons, evidence = [], features.evidence
    if features.text_characters > routing.simple_max_characters:
        reasons.append(f"{features.text_characters:,} characters")
    if evidence.code.enough:
        reasons.append(f"code: {', '.join(evidence.code.labels)}")
    if evidence.debugging.points:
        reasons.append(f"debugging: {', '.join(evidence.debugging.labels)}")
    if evidence.design.points:
        reasons.append(f"design: {', '.join(evidence.design.labels)}")
    complexity = COMPLEXITIES[min(len(reasons), len(COMPLEXITIES) - 1)]
    return Assessment(complexity, "; ".join(reasons) or "a short text without code")
