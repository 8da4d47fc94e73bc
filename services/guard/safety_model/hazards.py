"""Hazard categories of guard models in terms of OpenAI's moderation categories."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from penstock.contract.guard.policies import HAZARD_CATEGORIES
from services.guard.remote.rater import Rating

__all__ = ["HAZARDS", "rating_of"]

HAZARDS: Final[dict[int, tuple[str, ...]]] = {
    1: ("violence", "illicit/violent"),
    2: ("illicit",),
    3: ("sexual", "illicit"),
    4: ("sexual/minors",),
    5: ("harassment",),
    6: (),
    7: ("harassment",),
    8: ("illicit",),
    9: ("illicit/violent",),
    10: ("hate",),
    11: ("self-harm",),
    12: ("sexual",),
    13: (),
    14: ("illicit",),
}
"""S1 to S14 of Llama Guard 3 and 4 (their model cards, after the MLCommons taxonomy): violent crimes, non-violent
crimes, sex-related crimes, child sexual exploitation, defamation, specialised advice, privacy, intellectual property,
weapons, hate, suicide and self-harm, sexual content, elections, code interpreter abuse. OpenAI's categories have none
for specialised advice and elections."""


def rating_of(flagged: Iterable[str]) -> Rating:
    """The models give no probabilities: a category is certain or not flagged."""
    found = dict.fromkeys(flagged, 1.0)
    return Rating(found, {**dict.fromkeys(HAZARD_CATEGORIES, 0.0), **found})
