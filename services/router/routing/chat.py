"""Where a chat request goes: its role by content, its complexity, and its passages."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from msgspec.structs import replace

from penstock.contract.guard.checks import Classification
from penstock.contract.names import Complexity
from penstock.contract.request import ChatRequest
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.retrieval import retrieval_missing
from penstock.runtime.retrieval.reserved_tokens import reserved_tokens
from services.router.routing.complexity import assess
from services.router.routing.features import Features
from services.router.routing.outcome import InvalidRequest
from services.router.routing.plan import Plan, check_collection, check_served
from services.router.routing.role import RoleChoice, resolve

__all__ = ["plan_chat"]

_CONVERSATION_CHARACTERS: Final = 256


def plan_chat(
    request: ChatRequest,
    features: Features,
    catalogue: Catalogue,
    served: Collection[str],
    topic: Classification | None,
) -> Plan:
    """Raises InvalidRequest. `topic`: the answer of the classifier, once it was asked."""
    if request.rag is not None or request.conversation:
        passage_tokens = _passage_tokens(request, catalogue)
        features = replace(features, estimated_tokens=features.estimated_tokens + passage_tokens)
    choice = resolve(request.role, features, catalogue, served, request.model, topic)
    check_served(choice.role, catalogue, served)
    complexity, why = _complexity(request, features, choice, catalogue)
    timeouts = catalogue.all_roles[choice.role].timeouts
    return Plan(
        role=choice.role,
        complexity=complexity,
        why=why,
        total_s=timeouts.batch_total_s if request.lane == "batch" else timeouts.total_s,
        stream=features.stream,
        vision=features.images > 0,
        estimated_tokens=features.estimated_tokens,
        max_tokens=features.max_tokens,
        choices=features.choices,
        unclear_text=features.text if choice.unclear and topic is None else "",
    )


def _passage_tokens(request: ChatRequest, catalogue: Catalogue) -> int:
    """The most input tokens that are put before the model besides the body: passages and earlier turns."""
    field = "rag" if request.rag is not None else "conversation"
    retrieval = catalogue.retrieval
    if retrieval is None:
        raise InvalidRequest(retrieval_missing(f"{field} cannot be served", catalogue.name), param=field)
    if request.rag is not None:
        check_collection("rag.collection", request.rag.collection)
    if request.conversation:
        if not request.user:
            message = "conversation needs user: what was said is remembered for each user"
            raise InvalidRequest(message, param="user")
        if len(request.conversation) > _CONVERSATION_CHARACTERS:
            message = f"conversation must be at most {_CONVERSATION_CHARACTERS} characters"
            raise InvalidRequest(message, param="conversation")
    return reserved_tokens(request, retrieval)


def _complexity(
    request: ChatRequest, features: Features, choice: RoleChoice, catalogue: Catalogue
) -> tuple[Complexity, str]:
    """The complexity, and the reasons for it and for the role; a reason that both have is given once."""
    if request.complexity is not None:
        return request.complexity, f"{choice.why}; {request.complexity}: named in the request"
    assessment = assess(features, catalogue.routing)
    new = [reason for reason in assessment.why.split("; ") if reason not in choice.why]
    return (
        assessment.complexity,
        f"{choice.why}; {assessment.complexity}{': ' if new else ''}{'; '.join(new)}",
    )
