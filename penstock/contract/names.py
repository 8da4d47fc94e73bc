"""Names in messages, subjects and metric labels."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Final, Literal, get_args

from msgspec import Meta

__all__ = [
    "AUTO",
    "COMPLEXITIES",
    "EMBED",
    "INDEX",
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
    "implicit_role",
    "is_implicit",
]

_IMPLICIT: Final = "model-"
_IMPLICIT_CHARACTERS: Final = 58
"""With the prefix, the longest token of a subject."""
Role = Annotated[str, Meta(pattern="^([a-z][a-z0-9_]{0,31}|model-[A-Za-z0-9_-]{1,58})$")]
"""The name of a role of the catalogue, or of the implicit role of a model: a token of NATS subjects, a part of consumer
names and a metric label."""
Lane = Literal["interactive", "batch"]
Kind = Literal["chat", "embed", "index"]
"""What a request asks for: the last token of its subject."""
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
RANKS: Final = (0, 1, 2, 3, 4)
"""The priority ranks of a mailbox: the more requests an account and its user have in it, the higher the rank of the
next one, and the later it is pulled. `services/router/queues/priority.py` has the bounds."""
COMPLEXITIES: Final[tuple[Complexity, ...]] = get_args(Complexity)

AUTO: Final = "auto"
"""The role of a request that leaves the choice to the router."""
EMBED: Final = "embed"
"""The role for embeddings."""
INDEX: Final = "index"
"""The mailbox of the indexer, which no catalogue defines."""
RESERVED_ROLES: Final = frozenset({AUTO, INDEX, "router"})
"""Names that a catalogue cannot define: the router's dead letters are filed under `router`."""


def implicit_role(model: str) -> Role:
    """The role of the requests that name `model`, the key of a model in the catalogue.

    Every character but A-Z a-z 0-9 - is written as `_` and two hexadecimal digits for each of its bytes, and a name
    that is too long ends in `__` and a digest: different models have different roles.
    """
    safe = re.sub(r"[^A-Za-z0-9-]", _escaped, model) or "_"
    if len(safe) > _IMPLICIT_CHARACTERS:
        safe = f"{safe[:40]}__{hashlib.sha256(model.encode(errors='surrogatepass')).hexdigest()[:16]}"
    return f"{_IMPLICIT}{safe}"


def is_implicit(role: str) -> bool:
    """Whether `role` is the implicit role of a model: no role of a catalogue has a hyphen in its name."""
    return role.startswith(_IMPLICIT)


def _escaped(character: re.Match[str]) -> str:
    return "".join(f"_{byte:02x}" for byte in character[0].encode(errors="surrogatepass"))
