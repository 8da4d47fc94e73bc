"""Names in messages, subjects and metric labels."""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from msgspec import Meta

__all__ = [
    "AUTO",
    "COMPLEXITIES",
    "EMBED",
    "LANES",
    "RANKS",
    "RESCUES",
    "RESERVED_ROLES",
    "ROLES",
    "ROLES_BY_CONTENT",
    "Complexity",
    "DegradationRule",
    "Kind",
    "Lane",
    "Rescue",
    "Role",
]

Role = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,31}$")]
"""The name of a role of the catalogue: a token of NATS subjects, a part of consumer names and a metric label."""
Lane = Literal["interactive", "batch"]
Kind = Literal["chat", "embed", "index"]
Complexity = Literal["simple", "medium", "complex"]
DegradationRule = Literal["rate_limit", "high_latency", "errors"]
Rescue = Literal["none", "before_output", "restart"]
"""Further attempts that a request allows after a failed one: none, none once text was sent, or any."""

ROLES_BY_CONTENT: Final[tuple[Role, ...]] = ("chat", "logic", "coding", "vision", "long_context")
"""The roles that the router chooses by the content of a request; any other one needs keywords in the catalogue."""
ROLES: Final[tuple[Role, ...]] = (
    *ROLES_BY_CONTENT,
    *("fast", "creative", "reasoning", "safety", "embed"),
)
"""The roles of the shipped catalogues; a catalogue may define others."""
LANES: Final[tuple[Lane, ...]] = get_args(Lane)
RESCUES: Final[tuple[Rescue, ...]] = get_args(Rescue)
RANKS: Final = (0, 1, 2, 3)
"""The priority ranks of a mailbox: the more requests a user has in it, the higher the rank of the next one, and the
later it is pulled. `services/router/queues/backlog.py` chooses the rank."""
COMPLEXITIES: Final[tuple[Complexity, ...]] = get_args(Complexity)

AUTO: Final = "auto"
"""The role of a request that leaves the choice to the router."""
EMBED: Final = "embed"
"""The role for embeddings, which no service answers yet."""
RESERVED_ROLES: Final = frozenset({AUTO, "router"})
"""Names that a catalogue cannot define: the router's dead letters are filed under `router`."""
