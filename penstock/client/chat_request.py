"""The request event of a chat request, from the arguments of the client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Raw

from penstock.bus.ids import new_id
from penstock.client.arguments import (
    RagOptions,
    check_body,
    check_choice,
    check_conversation,
    check_role_or_model,
    check_text,
    check_timeout,
    encoded_body,
    messages_of,
    rag_of,
)
from penstock.contract.names import COMPLEXITIES, LANES, RESCUES, Complexity, Lane
from penstock.contract.request import ChatRequest

__all__ = ["Prompt", "chat_request"]

Prompt = str | Iterable[Mapping[str, Any]]
"""A text, or the `messages` of an OpenAI chat completion."""


def chat_request(
    client: str, prompt: Prompt, body: Mapping[str, Any], *, timeout_s: float | None, **envelope: Any
) -> ChatRequest:
    """`envelope`: the other fields of the request, as the client has them. Raises ValueError for an invalid one."""
    lane: Lane = envelope["lane"]
    complexity: Complexity | None = envelope["complexity"]
    rag: RagOptions | None = envelope.pop("rag")
    check_choice("lane", lane, LANES)
    check_choice("rescue", envelope["rescue"], RESCUES)
    if complexity is not None:
        check_choice("complexity", complexity, COMPLEXITIES)
    check_timeout(timeout_s, lane)
    check_role_or_model(envelope["role"], envelope["model"])
    check_text("user", envelope["user"])
    check_choice("degrade", envelope["degrade"], (True, False))
    check_conversation(envelope["conversation"], envelope["user"])
    check_body(body)
    return ChatRequest(
        id=new_id(),
        client=client,
        body=Raw(encoded_body({"messages": messages_of(prompt), **body})),
        timeout_s=timeout_s,
        rag=None if rag is None else rag_of(rag),
        **envelope,
    )
