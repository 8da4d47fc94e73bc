"""The choice in one pass over the chain: call a model now, wait for one, or give up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Final, Literal

from msgspec import Struct

__all__ = ["Choice", "ModelState", "NoModel", "Reason", "Wait", "choose", "last_resort"]

Reason = Literal["ready", "breaker", "quota", "backoff", "withdrawn", "credentials", "excluded", "never"]
"""`credentials`: no key is set; `excluded`: the request has failed with the model; `never`: the request needs more than
the model's whole quota."""

_LASTING: Final[tuple[Reason, ...]] = ("excluded", "never", "credentials", "withdrawn")
"""Reasons that no wait within one request removes, the most informative first: a failed call has an error to show."""


class ModelState(Struct, frozen=True):
    """When a model may be called for a request, and what prevents the call until then."""

    available_at_s: float
    """Seconds of a monotonic clock; infinite: never."""
    reason: Reason = "ready"


class Choice(Struct, frozen=True):
    model: str


class Wait(Struct, frozen=True):
    """No model may be called now; `model` is the first that may."""

    until_s: float
    reason: Reason
    model: str


class NoModel(Struct, frozen=True):
    """No model will ever be available to this request. `reason` is None for an empty chain."""

    reason: Reason | None


def choose(chain: Sequence[str], states: Mapping[str, ModelState], now_s: float) -> Choice | Wait | NoModel:
    """The first model of the chain that is available now, else the earliest, else NoModel."""
    wait: Wait | None = None
    hopeless: list[Reason] = []
    for model in chain:
        state = states[model]
        at_s, reason = state.available_at_s, state.reason
        if reason in _LASTING or at_s == inf:
            hopeless.append(reason)
        elif at_s <= now_s:
            return Choice(model)
        elif wait is None or at_s < wait.until_s:
            wait = Wait(at_s, reason, model)
    if wait is not None:
        return wait
    return NoModel(next((reason for reason in (*_LASTING, *hopeless) if reason in hopeless), None))


def last_resort(
    choice: Choice | Wait | NoModel,
    states: Mapping[str, ModelState],
    trial_of: Callable[[str], ModelState],
    success_share: Callable[[str], float],
    *,
    now_s: float,
    max_wait_s: float,
) -> Choice | Wait | NoModel:
    """`choice`, or a trial call of a model whose breaker is not closed, where no other can serve the request in time.

    A model without an open breaker that can be called within `max_wait_s` is waited for. Otherwise the models with open
    breakers are tried, the one with the best share of recent successes first, as soon as their breakers admit a trial:
    `trial_of` returns when that is.
    """
    behind = [model for model, state in states.items() if state.reason == "breaker"]
    if isinstance(choice, Choice) or not behind:
        return choice
    others_s = min((each.available_at_s for each in states.values() if each.reason != "breaker"), default=inf)
    if others_s <= now_s + max_wait_s:
        return choice
    ordered: Sequence[str] = sorted(behind, key=success_share, reverse=True)
    trial = choose(ordered, {model: trial_of(model) for model in ordered}, now_s)
    if isinstance(trial, NoModel) or (isinstance(trial, Wait) and others_s < trial.until_s):
        return choice
    return trial
