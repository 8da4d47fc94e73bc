"""Request/reply with the router: how a request would be routed, without a provider call."""

from __future__ import annotations

from msgspec import Struct

from penstock.contract.names import Complexity, Lane, Role

__all__ = ["RequestingAccount", "RoutingExplained", "WeightedModels"]


class RequestingAccount(Struct, frozen=True, kw_only=True):
    """An additional field of a `ChatRequest` sent to `llm.router.explain`, whose subject names no account."""

    account: str = "explain"
    """The account for which the wait is forecast, together with the `user` of the request."""


class WeightedModels(Struct, frozen=True, kw_only=True):
    """Adjacent models of the chain, of which each request draws one by weight."""

    models: tuple[str, ...]
    weights: tuple[int, ...]
    """One weight per model; its part of the sum is the model's share of the requests."""


class RoutingExplained(Struct, frozen=True, kw_only=True, tag="routing_explained", tag_field="type"):
    """The router's answer to a `ChatRequest` sent to `llm.router.explain`, unless it would reject the request: then the
    answer is the `failed` that the request would receive. With an `account` field in the request, the wait is forecast
    for that account and `user`; without one, for a new account.
    """

    role: Role
    complexity: Complexity
    why: str
    chain: tuple[str, ...]
    """Models in the order in which they would be tried; empty when no model of the role can serve the request."""
    wait_s: float | None = 0.0
    """Estimated wait for a slot and for quota in seconds; None: not known, or no start can be forecast."""
    queue_position: int | None = None
    """How many requests are expected to start before this one; 0: it would be the next. None: not known."""
    weighted: tuple[WeightedModels, ...] = ()
    lane: Lane | None = None
    """None: the router is of a version that does not send it."""
    deadline_ms: int | None = None
    """The deadline that the request would have if it were sent now, Unix milliseconds."""
    v: int = 1
