"""The order in which the models of a role's chain are tried (A1, A4, B2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from msgspec import Struct

from penstock.contract.names import Complexity
from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import Model, RoleConfig, WeightedStep

__all__ = ["Needs", "needs_of", "needs_of_work", "order", "shortfall"]

_CONTEXT_MARGIN: Final = 0.8
"""Factor for the estimated tokens when a model is left out for its context: the estimate may be too high, and then the
provider decides."""


class Needs(Struct, frozen=True):
    """What a model must offer to serve a request."""

    context_tokens: int = 0
    """The input tokens, estimated low. Whether the answer fits too is left to the provider."""
    vision: bool = False


def needs_of_work(work: ChatWork) -> Needs:
    """The needs of a request. One for embeddings has none: the router has checked the length of each of its texts."""
    return needs_of(work.estimated_tokens, vision=work.vision) if work.kind == "chat" else Needs()


def needs_of(estimated_tokens: int, *, vision: bool) -> Needs:
    """The needs of a chat request of about `estimated_tokens`."""
    return Needs(context_tokens=int(estimated_tokens * _CONTEXT_MARGIN), vision=vision)


def order(
    role: RoleConfig, models: Mapping[str, Model], complexity: Complexity, needs: Needs
) -> tuple[str, ...]:
    """The keys of the models that can serve the request, in the order in which they are tried.

    A simple request tries the cheapest of them first and a complex one the most expensive; otherwise the order is that
    of the chain. Of equal prices the first in the chain is chosen. A weighted step moves as one, at the average price
    of its models weighted by their shares. A step with a model whose price is not known is never chosen by price.
    Empty if no model can serve the request: `shortfall` gives the reason.
    """
    able = [key for key in role.chain if _can_serve(models[key], needs)]
    if not able or complexity == "medium" or not role.order_by_complexity:
        return tuple(able)
    choose = min if complexity == "simple" else max
    steps = _steps(able, role)
    first = choose(
        (step for step in steps if _is_priced(step, models)),
        key=lambda step: _price(step, models),
        default=steps[0],
    )
    return (*first, *(key for key in able if key not in first))


def _steps(able: Iterable[str], role: RoleConfig) -> list[dict[str, int]]:
    """Each step as models and weights; a model outside a weighted step is a step of its own."""
    steps: list[dict[str, int]] = []
    weighted = {key: step for step in role.weighted for key in step.models}
    last: WeightedStep | None = None
    for key in able:
        step = weighted.get(key)
        if step is not None and step is last:
            steps[-1][key] = step.shares[key]
        else:
            steps.append({key: 1 if step is None else step.shares[key]})
        last = step
    return steps


def _is_priced(step: Iterable[str], models: Mapping[str, Model]) -> bool:
    return all(models[key].price is not None for key in step)


def _price(step: Mapping[str, int], models: Mapping[str, Model]) -> float:
    prices = ((models[key].price, weight) for key, weight in step.items())
    total = sum(weight * (price.input + price.output) for price, weight in prices if price is not None)
    return total / sum(step.values())


def shortfall(
    role: RoleConfig, models: Mapping[str, Model], needs: Needs
) -> Literal["context", "vision"] | None:
    """What every model of the chain lacks; None if one can serve the request.

    `context` if a shorter request could be served (`context_length_exceeded`), else `vision`.
    """
    if any(_can_serve(models[key], needs) for key in role.chain):
        return None
    shorter = Needs(vision=needs.vision)
    return "context" if any(_can_serve(models[key], shorter) for key in role.chain) else "vision"


def _can_serve(model: Model, needs: Needs) -> bool:
    return needs.context_tokens <= model.context_tokens and (model.supports_vision or not needs.vision)
