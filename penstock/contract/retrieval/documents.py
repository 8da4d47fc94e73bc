"""Documents of a collection: what an index request contains, and what was done with it."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field

__all__ = [
    "DOCUMENT_ID_CHARACTERS",
    "MAX_DOCUMENTS",
    "MEMORY",
    "Document",
    "IndexBody",
    "IndexReport",
    "Metadata",
    "RefusedDocument",
    "conversation_of",
    "turn_id",
]

DOCUMENT_ID_CHARACTERS: Final = 1_024
MAX_DOCUMENTS: Final = 1_000
"""Documents and deletions of one index request."""
MEMORY: Final = "memory-"
"""The prefix of the collections that hold conversations. An index request with exactly this name changes the memory of
its `user`; no request names another one.
"""


def turn_id(conversation: str, request: str) -> str:
    """The id of the document that holds one turn; the id of a request has no slash."""
    return f"{conversation}/{request}"


def conversation_of(turn: str) -> str:
    """The conversation of a turn, which may have slashes itself: `trip/2026` is another one than `trip`."""
    return turn.rpartition("/")[0]


Metadata = dict[str, str | int | float | bool | list[str]]
"""What search can filter by, and what comes back with each passage."""


class Document(Struct, frozen=True, kw_only=True):
    """One document, as a whole: it replaces the stored one of the same id."""

    id: str
    """Unique in the collection, for example a path or a URL."""
    text: str | None = None
    """A document has either `text` or `data`."""
    data: bytes | None = None
    """The bytes of a file; in JSON as base64."""
    media_type: str = ""
    """For example `text/markdown`; empty: by the name and the content."""
    name: str = ""
    """The name of the file, by which the format is recognised; empty: `id` serves."""
    title: str = ""
    """Empty: taken from the document."""
    source: str = ""
    """What a citation refers to, for example a URL; empty: `id` serves."""
    metadata: Metadata = field(default_factory=dict)


class IndexBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `body` of an index request."""

    documents: tuple[Document, ...] = ()
    """Documents to add or replace."""
    delete: tuple[str, ...] = ()
    """Ids of documents to delete. One that does not exist is no error."""
    drop: bool = False
    """Delete the whole collection, before anything of `documents` is added."""
    drop_conversation: str = ""
    """Of a memory: delete the turns of this conversation, also those of earlier requests that still wait."""
    model: str = ""
    """The embedding model for a new collection, or for all of an existing one from now on; empty: that of the
    collection, or the configured one."""
    dimensions: int | None = None
    """Likewise; None: those of the collection, or of the model."""


class RefusedDocument(Struct, frozen=True, kw_only=True):
    """A document that was not indexed, or not deleted. The stored version of it stays."""

    id: str
    reason: str


class IndexReport(Struct, frozen=True, kw_only=True):
    """The `response` of `completed` for an index request."""

    collection: str
    indexed: int = 0
    """Documents that were added or replaced."""
    unchanged: int = 0
    deleted: int = 0
    refused: tuple[RefusedDocument, ...] = ()
    chunks: int = 0
    """Chunks of all documents of the request, as they are now."""
    changed: int = 0
    """Chunks that were not in the store."""
    embedded: int = 0
    """Chunks of `changed` that a provider embedded."""
    from_cache: int = 0
    """Chunks of `changed` whose vectors were known; not those with the same text as another one of `embedded`."""
    chunks_deleted: int = 0
    deleted_unknown: bool = False
    """The table of the collection that was dropped was missing or could not be read: `deleted` and `chunks_deleted` are
    without its documents.
    """
    tokens: int = 0
    """Input tokens that the provider counted."""
    cost_microusd: int = 0
    unpriced_attempts: int = 0
    """Attempts that used tokens of a model without a price; above 0, the cost is not known."""
    model: str = ""
    dimensions: int = 0
