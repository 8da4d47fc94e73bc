"""The choice inside one pass: go with a model now, wait for one, or give up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Final, Literal

from msgspec import Struct

__all__ = ["Choice", "Nothing", "Reason", "Standing", "Wait", "choose"]

Reason = Literal["ready", "breaker", "quota", "backoff", "withdrawn", "credentials", "excluded", "never"]
"""`credentials`: none is set; `excluded`: this request has tried it; `never`: it needs more than
the model's whole quota."""

_LASTING: Final[tuple[Reason, ...]] = ("excluded", "never", "credentials", "withdrawn")
"""No wait within one request mends these. The most telling first: what was tried has an error to show."""


class Standing(Struct, frozen=True):
    """When a model may be called, and what it waits for until then."""

    available_at_s: float
    """Monotonic seconds; not after now: at once; infinite: never."""
    reason: Reason = "ready"


class Choice(Struct, frozen=True):
    model: str


class Wait(Struct, frozen=True):
    """None may be called now; the first one to come is `model`."""

    until_s: float
    reason: Reason
    model: str


class Nothing(Struct, frozen=True):
    """None will ever be available to this request. An empty chain has no reason."""

    reason: Reason | None


def choose(chain: Sequence[str], standings: Mapping[str, Standing], now_s: float) -> Choice | Wait | Nothing:
    """The first model of the chain that is available, else the earliest, else nothing."""
    wait: Wait | None = None
    hopeless: list[Reason] = []
    for model in chain:
        standing = standings[model]
        at_s, reason = standing.available_at_s, standing.reason
        if reason in _LASTING or at_s == inf:
            hopeless.append(reason)
        elif at_s <= now_s:
            return Choice(model)
        elif wait is None or at_s < wait.until_s:
            wait = Wait(at_s, reason, model)
    if wait is not None:
        return wait
    return Nothing(next((reason for reason in (*_LASTING, *hopeless) if reason in hopeless), None))
