"""The request on the bus."""

from __future__ import annotations

from penstock.bus.ids import new_id
from penstock.contract.names import COMPLEXITIES, Complexity
from penstock.contract.request import ChatRequest
from services.edge.auth.identity import Identity
from services.edge.auth.misplaced_keys import refuse_key_as
from services.edge.dialects.dialect import ChatCall
from services.edge.requests.options import RequestOptions

__all__ = ["build", "split_model"]


def build(
    call: ChatCall, options: RequestOptions, identity: Identity, client_name: str, now_ms: int
) -> ChatRequest:
    """`rescue` is always `restart`: the edge itself decides what a client sees of a further attempt.

    Raises HttpError (400) for an API key in a field that gets into logs.
    """
    user = identity.user or options.user or call.user
    for each in (user, call.user):  # that of the body goes to the provider in any case
        refuse_key_as("user", each)
    refuse_key_as("model", call.model)
    role, complexity = split_model(call.model)
    return ChatRequest(
        id=new_id(),
        client=client_name,
        body=call.body,
        role=role,
        complexity=complexity,
        lane=options.lane,
        user=user,
        deadline_ms=None if options.timeout_s is None else now_ms + int(options.timeout_s * 1000),
        degrade=options.degrade,
        rescue="restart",
    )


def split_model(model: str) -> tuple[str, Complexity | None]:
    """A role and its complexity; what follows another colon belongs to the name, which no role then has."""
    name, _, last = model.rpartition(":")
    complexity = next((each for each in COMPLEXITIES if each == last), None)
    return (name, complexity) if name and complexity is not None else (model, None)
