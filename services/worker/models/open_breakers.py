"""Models that are tried although their breakers are not closed, because no other can serve the request in time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf

from services.worker.models.choose import Choice, Nothing, Standing, Wait, choose

__all__ = ["last_resort"]


def last_resort(
    choice: Choice | Wait | Nothing,
    standings: Mapping[str, Standing],
    trial_of: Callable[[str], Standing],
    success_share: Callable[[str], float],
    *,
    now_s: float,
    patience_s: float,
) -> Choice | Wait | Nothing:
    """`choice`, or a better one among the models behind their breakers.

    A model that no breaker stops and that can be called within `patience_s` is waited for. Else those behind breakers
    are tried, the one with the best share of recent successes first, as soon as their breakers admit a trial.
    `trial_of` tells when that is.
    """
    behind = [model for model, standing in standings.items() if standing.reason == "breaker"]
    if isinstance(choice, Choice) or not behind:
        return choice
    others_s = min(
        (each.available_at_s for each in standings.values() if each.reason != "breaker"), default=inf
    )
    if others_s <= now_s + patience_s:
        return choice
    ordered: Sequence[str] = sorted(behind, key=success_share, reverse=True)
    trial = choose(ordered, {model: trial_of(model) for model in ordered}, now_s)
    if isinstance(trial, Nothing) or (isinstance(trial, Wait) and others_s < trial.until_s):
        return choice
    return trial
