"""Which role a request is for (REQUIREMENTS B1), and why (B5)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from msgspec import Struct

from penstock.contract.names import AUTO, ROLES, Role
from penstock.runtime.config.catalogue import Routing
from services.router.classification.evidence import Finding
from services.router.routing.features import Features

__all__ = ["Decision", "UnknownRole", "resolve"]

_ROLES: Final = frozenset[str](ROLES)


class Decision(Struct, frozen=True):
    role: Role
    why: str
    """The evidence, for the person who asked."""


class UnknownRole(ValueError):
    """There is no such role."""

    def __init__(self, role: str) -> None:
        super().__init__(f"there is no role {role!r}; the roles are {', '.join((*ROLES, AUTO))}")


def resolve(requested: str, features: Features, routing: Routing, served: Collection[str]) -> Decision:
    """The role for a request that named `requested`; `served` are the roles with a live worker.

    A role asked for by name is obeyed even where nobody serves it: refusing it is the door's business, and
    another role's answer is not what was asked for. Raises UnknownRole.
    """
    if requested != AUTO:
        if requested not in _ROLES:
            raise UnknownRole(requested)
        return Decision(requested, "asked for")
    decision = _by_evidence(features, routing)
    if decision.role in served or "chat" not in served:
        return decision
    return Decision("chat", f"{decision.why}; nobody serves {decision.role} now, so chat")


def _by_evidence(features: Features, routing: Routing) -> Decision:
    if features.images:
        return Decision("vision", "an image" if features.images == 1 else f"{features.images} images")
    if features.estimated_tokens > routing.long_context_tokens:
        return Decision("long_context", f"{features.estimated_tokens:,} tokens of text")
    code, maths = features.signs.code, features.signs.maths
    if code.enough and not _outweighed(code, maths):
        return Decision("coding", f"code: {', '.join(code.evidence)}")
    if maths.enough:
        return Decision("logic", f"mathematics or logic: {', '.join(maths.evidence)}")
    return Decision("chat", "neither code nor mathematics")


def _outweighed(code: Finding, maths: Finding) -> bool:
    """Words that both subjects share (`function`, `class`) do not make a proof a program."""
    return maths.enough and code.strongest <= 1 and maths.points > code.points
