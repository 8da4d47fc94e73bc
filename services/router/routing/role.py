"""Role of a request (B1), and the reason for it (B5)."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache

from msgspec import Struct

from penstock.contract.names import AUTO, EMBED, Role
from penstock.runtime.config.catalogue import Catalogue
from services.router.classification.evidence import TopicEvidence
from services.router.routing.features import Features
from services.router.routing.outcome import InvalidRequest

__all__ = ["RoleChoice", "resolve"]


class RoleChoice(Struct, frozen=True):
    role: Role
    why: str
    """The evidence, for the person who asked."""


def resolve(requested: str, features: Features, catalogue: Catalogue, served: Collection[str]) -> RoleChoice:
    """Choose the role of a request that named `requested`; `served` are the roles with a live worker.

    A role requested by name is kept even where no worker serves it: another role's answer was not requested. `auto`
    falls back to chat. Raises InvalidRequest for a role that the catalogue lacks.
    """
    if requested == AUTO:
        choice = _by_evidence(features, catalogue)
        if choice.role not in served and ("chat" in served or choice.role not in catalogue.roles):
            choice = RoleChoice("chat", f"{choice.why}; no live worker serves {choice.role}, so chat")
    else:
        choice = RoleChoice(requested, "role named in the request")
    if choice.role not in catalogue.roles:
        known = ", ".join((*(role for role in catalogue.roles if role != EMBED), AUTO))
        raise InvalidRequest(
            f"there is no role {choice.role[:80]!r} in the catalogue {catalogue.name}; the roles are {known}",
            "unknown_role",
        )
    return choice


def _by_evidence(features: Features, catalogue: Catalogue) -> RoleChoice:
    if features.images:
        return RoleChoice("vision", "an image" if features.images == 1 else f"{features.images} images")
    if features.estimated_tokens > catalogue.routing.long_context_tokens:
        return RoleChoice("long_context", f"{features.estimated_tokens:,} tokens of text")
    if (choice := _by_keyword(features.text, catalogue)) is not None:
        return choice
    code, maths = features.evidence.code, features.evidence.maths
    if code.enough and not _outweighed(code, maths):
        return RoleChoice("coding", f"code: {', '.join(code.labels)}")
    if maths.enough:
        return RoleChoice("logic", f"mathematics or logic: {', '.join(maths.labels)}")
    return RoleChoice("chat", "neither code nor mathematics")


def _by_keyword(text: str, catalogue: Catalogue) -> RoleChoice | None:
    """The first role of the catalogue with a keyword in `text`."""
    for role, config in catalogue.roles.items():
        if config.auto is not None and (found := _pattern(config.auto.keywords).search(text)):
            return RoleChoice(role, f"keyword {found[0]!r}")
    return None


@cache
def _pattern(keywords: tuple[str, ...]) -> re.Pattern[str]:
    """Matches any of `keywords` as whole words, in any case."""
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, keywords))})(?!\w)", re.IGNORECASE)


def _outweighed(code: TopicEvidence, maths: TopicEvidence) -> bool:
    """Whether the code words are only words that mathematics also uses (`function`, `class`)."""
    return maths.enough and code.strongest <= 1 and maths.points > code.points
