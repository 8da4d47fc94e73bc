"""Request/reply with the router: how would this be routed? Nothing is spent."""

from __future__ import annotations

from msgspec import Struct

from schemas.names import Complexity, Role

__all__ = ["RoutingExplained"]


class RoutingExplained(Struct, frozen=True, kw_only=True, tag="routing_explained", tag_field="type"):
    """The router's answer to a `ChatRequest` sent to `llm.router.explain`."""

    role: Role
    complexity: Complexity
    why: str
    chain: tuple[str, ...]
    """Models in the order in which they would be tried; empty where none of the role can serve the request."""
    wait_s: float | None = 0.0
    """How long it would wait for a slot and for quota, as far as is foreseen; None: for ever, by all that is known."""
    v: int = 1
