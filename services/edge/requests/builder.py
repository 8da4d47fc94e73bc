"""The request on the bus."""

from __future__ import annotations

from penstock.bus.ids import new_id
from penstock.contract.request import ChatRequest
from services.edge.auth.identity import Identity
from services.edge.auth.misplaced_keys import refuse_key_as
from services.edge.dialects.dialect import ChatCall
from services.edge.dialects.rag_options import rag_of_text
from services.edge.listing.target import Target
from services.edge.requests.options import RequestOptions

__all__ = ["build"]


def build(
    call: ChatCall, target: Target, options: RequestOptions, identity: Identity, client_name: str, now_ms: int
) -> ChatRequest:
    """`rescue` is always `restart`: the edge itself decides what a client sees of a further attempt. `now_ms`: the
    time of the NATS server, which the id has.

    Raises HttpError (400) for an API key in a field that gets into logs.
    """
    user = identity.user or options.user or call.user
    for each in (user, call.user):  # that of the body goes to the provider in any case
        refuse_key_as("user", each)
    refuse_key_as("model", call.model)
    conversation = options.conversation or call.conversation
    refuse_key_as("conversation", conversation)
    return ChatRequest(
        id=new_id(now_ms),
        client=client_name,
        body=call.body,
        role=target.role,
        model=target.model,
        complexity=target.complexity,
        lane=options.lane,
        user=user,
        key=identity.key,
        timeout_s=options.timeout_s,
        degrade=options.degrade,
        rescue="restart",
        rag=rag_of_text(options.rag) if options.rag else call.rag,
        conversation=conversation,
    )
