"""Requests of applications: for a chat answer, for vectors, for the indexing of documents; and their cancellation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Raw, Struct

from penstock.contract.names import AUTO, EMBED, Complexity, Lane, Rescue
from penstock.contract.retrieval.search import Rag

__all__ = [
    "LONGEST_S",
    "LONGEST_WAIT_S",
    "NO_BODY",
    "BodyRef",
    "CancelRequest",
    "ChatRequest",
    "EmbedRequest",
    "IndexRequest",
]

LONGEST_S: Final[Mapping[Lane, int]] = {"interactive": 3_600, "batch": 86_400}
"""The latest possible deadline of each lane, in seconds after JetStream stored the request."""
LONGEST_WAIT_S: Final = max(LONGEST_S.values())
"""The longest time a request may wait; streams that keep or mark waiting requests keep them longer."""
NO_BODY: Final = Raw(b"null")
"""The `body` of a message with a `body_ref`."""


class BodyRef(Struct, frozen=True, kw_only=True):
    """A body that is stored under `llm.body.<account>.<client>.<id>.<upload>.<offset>`, in parts that begin at each
    offset.

    It has no name of its own: account, client and id are those of the request, so that none can refer to the body of
    another.
    """

    size: int
    """In bytes."""
    sha256: str
    """Of the whole body, in hexadecimal."""


class ChatRequest(Struct, frozen=True, kw_only=True, tag="chat_request", tag_field="type"):
    """The envelope of an OpenAI chat-completions body. The account is in the subject."""

    id: str
    """Unique per request, for example a UUIDv7, and a valid subject token. The header `Nats-Msg-Id` is
    `<account>.<client>.<id>`, of which JetStream stores one message."""
    client: str
    """Reply events go to `llm.reply.<account>.<client>.<id>`."""
    body: Raw
    """The OpenAI chat-completions body. Its `model` is ignored: `role` or `model` of the envelope decides. `null` with
    a `body_ref`."""
    role: str = AUTO
    model: str = ""
    """The key of a model in the catalogue, to be answered by it and its own fallbacks only; empty: the chain of the
    role decides. A request names a role or a model."""
    lane: Lane = "interactive"
    user: str = ""
    """Your end user; fairness and budgets count by it."""
    key: str = ""
    """The prefix of the API key with which the edge received it; budgets may count by it."""
    timeout_s: float | None = None
    """Seconds from when JetStream stored the request, after which no answer is wanted; None: the default of the role
    and lane. More than the lane's longest time counts as that."""
    deadline_ms: int | None = None
    """Unix milliseconds by the clock of the NATS server, instead of `timeout_s`, of which the clock of the sender is
    no part."""
    degrade: bool = True
    """False: the body is not shortened while a model is slow or failing; another model may still answer."""
    rescue: Rescue = "restart"
    """Whether a failed attempt may be followed by another: never (`none`), only while no text was sent
    (`before_output`), or also afterwards (`restart`), when `restarted` discards the text so far."""
    complexity: Complexity | None = None
    """The end of the chain to use, instead of an assessment of the text; None: the router assesses it."""
    body_ref: BodyRef | None = None
    """The body, where it is too large for a message. It is stored before the request, and deleted at its end."""
    rag: Rag | None = None
    """Passages of a collection that are put before the model; None: none are."""
    conversation: str = ""
    """The conversation of `user` to which the request belongs: what was said in it is remembered, and what fits from
    the user's memory is put before the model. Empty: nothing is remembered."""
    v: int = 1


class EmbedRequest(Struct, frozen=True, kw_only=True, tag="embed_request", tag_field="type"):
    """The envelope of an OpenAI embeddings body; the fields are those of a chat request."""

    id: str
    client: str
    body: Raw
    """`input`: a text, texts, or arrays of tokens, at most 2,048; `dimensions`, if the model can shorten its vectors.
    `model` and `encoding_format` are ignored: vectors are in `delta` events, as `VectorBlock`."""
    role: str = EMBED
    model: str = ""
    lane: Lane = "interactive"
    user: str = ""
    key: str = ""
    timeout_s: float | None = None
    deadline_ms: int | None = None
    body_ref: BodyRef | None = None
    store: bool = True
    """False: the vectors are kept for no other request, neither stored nor in the memory of a worker, and none that
    was kept is used."""
    v: int = 1


class IndexRequest(Struct, frozen=True, kw_only=True, tag="index_request", tag_field="type"):
    """Add, replace and delete documents of a collection; the other fields are those of a chat request."""

    id: str
    client: str
    collection: str
    body: Raw
    """An `IndexBody`."""
    lane: Lane = "batch"
    user: str = ""
    key: str = ""
    timeout_s: float | None = None
    deadline_ms: int | None = None
    body_ref: BodyRef | None = None
    v: int = 1


class CancelRequest(Struct, frozen=True, kw_only=True, tag="cancel_request", tag_field="type"):
    """Stop the request that the last token of the subject names. An empty body means the same."""

    reason: str = ""
    v: int = 1
