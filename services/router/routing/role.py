"""Role of a request (B1), and the reason for it (B5)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from functools import cache
from typing import Final

from msgspec import Struct

from penstock.contract.guard.checks import Classification
from penstock.contract.names import AUTO, COMPLEXITIES, Kind, Role, implicit_role, is_implicit
from penstock.runtime.config.catalogue import Catalogue
from services.router.classification.evidence import TopicEvidence
from services.router.routing.features import Features
from services.router.routing.outcome import InvalidRequest

__all__ = ["RoleChoice", "check_kind", "resolve", "role_and_model", "unknown_name"]

_QUOTED: Final = 80
"""Characters of an unknown name that an error repeats."""
_NEAR_MODELS: Final = 5
_ENOUGH_PROBABILITY: Final = 0.75
"""A classifier that is less sure than this does not change the role. Chosen by cross-validation on its training texts
as the lowest that keeps 98.5% of the texts for chat: they are the most frequent ones."""
_UNCLEAR: Final = re.compile(r"\w\W+\w+\W+\w")
"""At least three words: shorter texts are greetings and single terms, which no classifier can assign."""


class RoleChoice(Struct, frozen=True):
    role: Role
    why: str
    """The evidence, shown to the client."""
    unclear: bool = False
    """No rule recognised the text: the role is a guess that a classifier may improve."""


def resolve(
    requested: str,
    features: Features,
    catalogue: Catalogue,
    served: Collection[str],
    model: str = "",
    topic: Classification | None = None,
) -> RoleChoice:
    """Choose the role of a request that named the role `requested`, or `model`; `served` are the roles with a live
    worker. `topic`: what a classifier takes the text to be about, which counts where the rules recognise nothing.

    A role or a model requested by name is kept even where no worker serves it: another one's answer was not requested.
    `auto` falls back to chat. Raises InvalidRequest for a role or a model that the catalogue lacks.
    """
    if model:
        choice = _of_model(requested, model, catalogue)
    elif requested == AUTO:
        choice = _by_evidence(features, catalogue, topic)
        if choice.role not in served and ("chat" in served or choice.role not in catalogue.roles):
            choice = RoleChoice("chat", f"{choice.why}; no live worker serves {choice.role}, so chat")
    else:
        why = "model" if is_implicit(requested) else "role"
        choice = RoleChoice(requested, f"{why} named in the request")
    if choice.role not in catalogue.all_roles:
        raise unknown_name("role", choice.role, catalogue)
    if catalogue.kind_of(choice.role) != "chat":
        check_kind(choice.role, "chat", catalogue)
    return choice


def check_kind(role: Role, kind: Kind, catalogue: Catalogue) -> None:
    """Raises InvalidRequest where the models of `role` answer requests of another kind than `kind`."""
    other = catalogue.kind_of(role)
    if other == kind:
        return
    named = f"the model {catalogue.all_roles[role].chain[0]}" if is_implicit(role) else f"the role {role}"
    roles = ", ".join(catalogue.roles_of_kind(kind)) or "not defined"
    raise InvalidRequest(
        f"{named} answers {other} requests, and this is a request of the kind {kind}; the roles for it are {roles}",
        param="model" if is_implicit(role) else "role",
    )


def _of_model(requested: str, model: str, catalogue: Catalogue) -> RoleChoice:
    if requested != AUTO:
        raise role_and_model(requested, model)
    if model not in catalogue.models:
        raise unknown_name("model", model, catalogue)
    return RoleChoice(implicit_role(model), "model named in the request")


def role_and_model(role: str, model: str) -> InvalidRequest:
    """The error for a request that names both."""
    return InvalidRequest(
        f"the request names the role {role[:_QUOTED]!r} and the model {model[:_QUOTED]!r}: name one of them"
    )


def unknown_name(what: str, name: str, catalogue: Catalogue, kind: Kind = "chat") -> InvalidRequest:
    """The error for a role or a model (`what`) that the catalogue lacks, with the roles for requests of `kind`."""
    roles = (*catalogue.roles_of_kind(kind), *((AUTO,) if kind == "chat" else ()))
    unknown = "role and no model" if what == "role" and name not in catalogue.models else what
    message = f"there is no {unknown} {name[:_QUOTED]!r} in the catalogue {catalogue.name}"
    message += f"; the roles are {', '.join(roles)}"
    role, _, complexity = name.rpartition(":")
    if role in roles and complexity not in COMPLEXITIES:
        message += (
            f"; the complexity after a role is {', '.join(COMPLEXITIES)}, as in {role}:{COMPLEXITIES[-1]}"
        )
    elif what == "model" and (name.lower() in roles or role in roles):
        message += f"; {name.lower()} is a role: name it as the role of the request, not as its model"
    elif name.lower() in roles:
        message += f"; write {name.lower()} in lower case"
    elif near_roles := get_close_matches(name[:_QUOTED].lower().partition(":")[0], roles, n=1):
        message += f"; a role of a similar name is {near_roles[0]}"
    near = _near(name[:_QUOTED], catalogue.models)
    if near:
        what_is_near = "a model of a similar name is" if len(near) == 1 else "models of a similar name are"
        message += f"; {what_is_near} {', '.join(near)}"
    return InvalidRequest(message, "unknown_role", param=what)


def _near(name: str, models: Iterable[str]) -> list[str]:
    """The models whose name is like `name`, contains it, or is a part of it."""
    if not name:
        return []
    wanted, by_case = name.lower(), {model.lower(): model for model in models}
    similar = get_close_matches(wanted, by_case, n=_NEAR_MODELS)
    containing = [each for each in by_case if wanted in each or each in wanted]
    return [by_case[each] for each in dict.fromkeys((*similar, *containing))][:_NEAR_MODELS]


def _by_evidence(features: Features, catalogue: Catalogue, topic: Classification | None) -> RoleChoice:
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
    return _without_evidence(features.text, topic)


def _without_evidence(text: str, topic: Classification | None) -> RoleChoice:
    """Of a text in which the rules recognise neither code nor mathematics."""
    if topic is None:
        unclear = _UNCLEAR.search(text) is not None
        return RoleChoice("chat", "neither code nor mathematics", unclear=unclear)
    sure = topic.probability >= _ENOUGH_PROBABILITY
    why = f"{'' if sure else 'perhaps '}{topic.topic} by the classifier ({topic.probability:.0%})"
    return RoleChoice(topic.topic if sure else "chat", why)


def _by_keyword(text: str, catalogue: Catalogue) -> RoleChoice | None:
    """The first role of the catalogue with a keyword in `text`."""
    for role, config in catalogue.roles.items():
        if config.auto is None or catalogue.kind_of(role) != "chat":
            continue
        if (found := _pattern(config.auto.keywords).search(text)) is not None:
            return RoleChoice(role, f"keyword {found[0]!r}")
    return None


@cache
def _pattern(keywords: tuple[str, ...]) -> re.Pattern[str]:
    """Matches any of `keywords` as whole words, in any case."""
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, keywords))})(?!\w)", re.IGNORECASE)


def _outweighed(code: TopicEvidence, maths: TopicEvidence) -> bool:
    """Whether the code words are only words that mathematics also uses (`function`, `class`)."""
    return maths.enough and code.strongest <= 1 and maths.points > code.points
