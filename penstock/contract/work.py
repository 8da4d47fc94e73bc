"""A routed request in the mailbox of a role."""

from __future__ import annotations

from msgspec import Raw, Struct

from penstock.contract.names import Complexity, Kind, Lane, Rescue, Role
from penstock.contract.request import BodyRef
from penstock.contract.retrieval.search import Rag
from penstock.contract.subjects import ReplyAddress

__all__ = ["ChatWork"]


class ChatWork(Struct, frozen=True, kw_only=True, tag="chat_work", tag_field="type"):
    """A validated, routed request with everything that a worker needs."""

    id: str
    account: str
    client: str
    user: str = ""
    key: str = ""
    """The `key` of the request."""
    role: Role
    lane: Lane
    complexity: Complexity
    why: str
    deadline_ms: int
    """Unix milliseconds."""
    accepted_ms: int
    """When JetStream stored the request, Unix milliseconds."""
    stream: bool
    vision: bool = False
    estimated_tokens: int = 0
    """Estimated input tokens, before calibration."""
    hold_id: str | None = None
    """The ledger's hold on the estimated cost; None: nothing was reserved."""
    hold_picousd: int = 0
    """The amount that the hold reserves, so that a worker raises it only for attempts that exceed it."""
    hold_tokens: int = 0
    """The same in tokens, input and output together."""
    assumed_output_tokens: int | None = None
    """The output limit to send, because neither the request nor its role has one and the hold covers no more for each
    choice; None: there is one, or there are no budgets.
    """
    degrade: bool = True
    """Whether the body may be shortened."""
    rescue: Rescue = "restart"
    """The `rescue` of the request."""
    body: Raw
    """`null` with a `body_ref`."""
    body_ref: BodyRef | None = None
    """The `body_ref` of the request."""
    max_tokens: int | None = None
    """The output limit in a body to which `body_ref` refers; None: it has none, or the body is here."""
    kind: Kind = "chat"
    """What `body` is: an OpenAI chat-completions body, an OpenAI embeddings body, or an `IndexBody`."""
    collection: str = ""
    """Of an index request."""
    rag: Rag | None = None
    """The `rag` of the request."""
    conversation: str = ""
    """The `conversation` of the request."""
    store: bool = True
    """The `store` of an embed request."""
    v: int = 1

    @property
    def reply_to(self) -> ReplyAddress:
        return ReplyAddress(self.account, self.client, self.id)
