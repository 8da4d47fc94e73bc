"""Where a request goes, whatever its kind is."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from penstock.contract.names import Complexity, Role, is_implicit
from penstock.contract.retrieval.documents import MEMORY
from penstock.contract.subjects import is_token
from penstock.runtime.config.catalogue import Catalogue
from services.router.routing.outcome import NOT_SERVED_RETRY_S, InvalidRequest

__all__ = ["Plan", "check_collection", "check_dimensions", "check_served"]


class Plan(Struct, frozen=True, kw_only=True):
    """What the decision on one kind of request found out."""

    role: Role
    complexity: Complexity
    why: str
    total_s: float
    """Seconds until the deadline of a request that names none."""
    stream: bool = False
    vision: bool = False
    estimated_tokens: int = 0
    max_tokens: int | None = None
    choices: int = 1
    unclear_text: str = ""


def check_served(role: Role, catalogue: Catalogue, served: Collection[str]) -> None:
    """Reject on arrival a request whose role has no live worker, rather than at its deadline."""
    if role in served or (is_implicit(role) and _serves_model(role, catalogue, served)):
        return
    message = f"no worker for the role {role} is alive"
    if is_implicit(role):
        message = (
            f"no live worker serves the model {catalogue.all_roles[role].chain[0]}: a worker serves the models in the "
            f"chains of its roles; add the model to a chain, or start a worker with --role {role}"
        )
    raise InvalidRequest(message, "role_not_served", NOT_SERVED_RETRY_S)


def _serves_model(role: Role, catalogue: Catalogue, served: Collection[str]) -> bool:
    """Whether the model of an implicit role is in the chain of a served role: its worker opens the mailbox."""
    model = catalogue.all_roles[role].chain[0]
    return any(model in catalogue.roles[each].chain for each in served if each in catalogue.roles)


def check_collection(field: str, name: str) -> None:
    """Raises InvalidRequest for the name of a collection that no request may use."""
    if not is_token(name):
        message = f"{field} must be 1 to 64 characters of A-Z a-z 0-9 _ -, not {name[:80]!r}"
        raise InvalidRequest(message, param=field)
    if name.startswith(MEMORY):
        raise InvalidRequest(
            f"{field} must not begin with {MEMORY!r}: such collections hold the conversations of users",
            param=field,
        )


def check_dimensions(
    field: str, dimensions: int | None, models: Collection[str], catalogue: Catalogue
) -> None:
    """Raises InvalidRequest where one of `models` has no vectors of so many dimensions."""
    if dimensions is None:
        return
    if dimensions <= 0:
        raise InvalidRequest(f"{field} must be a positive integer, not {dimensions:,}", param=field)
    for key in models:
        embedding = catalogue.models[key].embedding
        if embedding is None or dimensions == embedding.dimensions:
            continue
        own = f"the vectors of the model {key} have {embedding.dimensions:,} dimensions"
        if not embedding.shortens:
            raise InvalidRequest(
                f"{field} is {dimensions:,}, but {own}, and it cannot shorten them: leave it out",
                param=field,
            )
        if dimensions > embedding.dimensions:
            raise InvalidRequest(
                f"{field} is {dimensions:,}, but {own}: name no more than that, or leave it out",
                param=field,
            )
