"""Which models of a role's chain to try, in which order (REQUIREMENTS A1, A4, B2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from msgspec import Struct

from penstock.config.catalogue import Model, RoleConfig
from schemas.names import Complexity

__all__ = ["Needs", "order", "saved_by_routing_microusd", "shortfall"]

_MILLION: Final = 1_000_000


class Needs(Struct, frozen=True):
    """What a request asks of any model that is to serve it."""

    context_tokens: int = 0
    """Input and requested output together, estimated."""
    vision: bool = False


def order(
    role: RoleConfig, models: Mapping[str, Model], complexity: Complexity, needs: Needs
) -> tuple[str, ...]:
    """The keys of the models that can serve the request, the one to try first in front.

    A simple request goes to the cheapest of them first and a complex one to the dearest; the rest, and every
    other case, keep the order of the chain. Of equal prices the one written first is taken. Empty if none can
    serve it: `shortfall` says why.
    """
    able = [key for key in role.chain if _can_serve(models[key], needs)]
    if not able or complexity == "medium" or not role.by_complexity:
        return tuple(able)
    choose = min if complexity == "simple" else max
    first = choose(able, key=lambda key: models[key].price.input + models[key].price.output)
    able.remove(first)
    return (first, *able)


def shortfall(
    role: RoleConfig, models: Mapping[str, Model], needs: Needs
) -> Literal["context", "vision"] | None:
    """What no model of the chain has enough of, or None if one can serve the request.

    Context, if a shorter request would be served (`context_length_exceeded`); else vision.
    """
    if any(_can_serve(models[key], needs) for key in role.chain):
        return None
    shorter = Needs(vision=needs.vision)
    return "context" if any(_can_serve(models[key], shorter) for key in role.chain) else "vision"


def saved_by_routing_microusd(
    chain: Iterable[str], models: Mapping[str, Model], chosen: str, input_tokens: int, output_tokens: int
) -> int:
    """What the dearest model of the chain would have cost for these tokens, less what the chosen one costs.

    Whole micro-dollars, rounded down, never negative (F4). Takes no account of cached input.
    """

    def cost(key: str) -> int:
        price = models[key].price
        return price.input * input_tokens + price.output * output_tokens

    dearest = max(map(cost, chain), default=0)
    return max(0, dearest - cost(chosen)) // _MILLION


def _can_serve(model: Model, needs: Needs) -> bool:
    return needs.context_tokens <= model.context_tokens and (model.vision or not needs.vision)
