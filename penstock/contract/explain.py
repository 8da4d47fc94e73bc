"""Request/reply with the router: how would this be routed? Nothing is spent."""

from __future__ import annotations

from msgspec import Struct

from penstock.contract.names import Complexity, Lane, Role

__all__ = ["Asker", "DrawnStep", "RoutingExplained"]


class Asker(Struct, frozen=True, kw_only=True):
    """What a question to `llm.router.explain` may say beside a `ChatRequest`, as its subject names no account."""

    account: str = "explain"
    """Whose place in the line the wait is foreseen for, together with the request's `user`."""


class DrawnStep(Struct, frozen=True, kw_only=True):
    """Neighbours in the chain of which each request draws one."""

    models: tuple[str, ...]
    weights: tuple[int, ...]
    """One for each; its part in their sum is the model's share of the requests."""


class RoutingExplained(Struct, frozen=True, kw_only=True, tag="routing_explained", tag_field="type"):
    """The router's answer to a `ChatRequest` sent to `llm.router.explain`. The question may say `account` beside it:
    the wait is foreseen for a request of that account and of its `user`; without, for somebody new.
    """

    role: Role
    complexity: Complexity
    why: str
    chain: tuple[str, ...]
    """Models in the order in which they would be tried; empty where none of the role can serve the request."""
    wait_s: float | None = 0.0
    """How long it would wait for a slot and for quota, as far as is foreseen; None: for ever, by all that is known."""
    weighted: tuple[DrawnStep, ...] = ()
    lane: Lane | None = None
    """None: the router is of a version that did not say."""
    deadline_ms: int | None = None
    """Until when it would be answered or told why not, if it were asked now, Unix milliseconds."""
    v: int = 1
