"""The request on the bus."""

from __future__ import annotations

import time

from penstock.bus.ids import new_id
from penstock.contract.request import ChatRequest
from services.edge.auth.identity import Identity
from services.edge.dialects.dialect import ChatCall
from services.edge.requests.options import RequestOptions

__all__ = ["build"]


def build(call: ChatCall, options: RequestOptions, identity: Identity, client_name: str) -> ChatRequest:
    """`rescue` is always `restart`: the edge itself decides what a client sees of a further attempt."""
    return ChatRequest(
        id=new_id(),
        client=client_name,
        body=call.body,
        role=call.model,
        lane=options.lane,
        user=identity.user or options.user or call.user,
        deadline_ms=None if options.timeout_s is None else int((time.time() + options.timeout_s) * 1000),
        degrade=options.degrade,
        rescue="restart",
    )
