"""What an application publishes to ask for a chat answer, and what it publishes to take that back."""

from __future__ import annotations

from msgspec import Raw, Struct

from penstock.contract.names import AUTO, Lane, Rescue

__all__ = ["CancelRequest", "ChatRequest"]


class ChatRequest(Struct, frozen=True, kw_only=True, tag="chat_request", tag_field="type"):
    """The envelope around an OpenAI chat-completions body. The account stands in the subject, not here."""

    id: str
    """Unique per request (a UUIDv7 is right), usable as a subject token. The header `Nats-Msg-Id` is
    `<account>.<client>.<id>`: to JetStream one name is one message, whoever sends it."""
    client: str
    """Reply events go to `llm.reply.<account>.<client>.<id>`."""
    body: Raw
    """The OpenAI chat-completions body. `model` in it is ignored: the role's chain decides."""
    role: str = AUTO
    lane: Lane = "interactive"
    user: str = ""
    """Whoever at the application asks; limits and fairness count by it."""
    deadline_ms: int | None = None
    """Unix milliseconds after which no answer is wanted; None: the role's own limit from when it was stored."""
    degrade: bool = True
    """False: nothing of the body is shortened while a model is slow or failing; another model may still answer."""
    rescue: Rescue = "restart"
    """Whether a failed attempt may be followed by another: never (`none`), only while no text was sent
    (`before_output`), or also afterwards (`restart`): then `restarted` tells to forget the text so far."""
    v: int = 1


class CancelRequest(Struct, frozen=True, kw_only=True, tag="cancel_request", tag_field="type"):
    """Stop the request named by the subject's last token. An empty body means the same."""

    reason: str = ""
    v: int = 1
