"""Collections of documents: their records, and the report of their state."""

from __future__ import annotations

from msgspec import Struct

__all__ = [
    "CollectionRecord",
    "CollectionStatus",
    "CollectionsQuery",
    "CollectionsReport",
    "DropCounts",
    "ForgottenConversation",
    "Generation",
]


class Generation(Struct, frozen=True, kw_only=True):
    """One table of a collection in the store: all its vectors are of one model."""

    number: int
    model: str
    """The key of the model in the catalogue."""
    space: str
    dimensions: int


class DropCounts(Struct, frozen=True, kw_only=True):
    """What the drop of a collection has found to delete."""

    documents: int = 0
    chunks: int = 0
    known: bool = True
    """False: the table was missing or could not be read."""


class ForgottenConversation(Struct, frozen=True, kw_only=True):
    """A conversation of which a memory stores no turn of an earlier request."""

    digest: str
    """Of the id of the conversation: 32 hex digits of its SHA-256."""
    version: int
    """Of the request that forgot it."""


class CollectionRecord(Struct, frozen=True, kw_only=True, tag="collection_record", tag_field="type"):
    """Which table of the store a collection is read from: an entry of the bucket `llm_collections`."""

    account: str
    name: str
    current: Generation | None
    """The one that search reads; None: the collection was dropped."""
    building: Generation | None = None
    """The one that is filled with vectors of another model, and read once it is complete."""
    last_number: int = 0
    """The highest number of a generation so far: no number is used twice."""
    dropped_by: int = 0
    """The version of the last change that dropped the collection: earlier changes have no effect."""
    drop_counts: DropCounts | None = None
    """What that change has found, written before the table is removed; None: nothing was counted yet."""
    forgotten: tuple[ForgottenConversation, ...] = ()
    """Of a memory: the conversations that were forgotten last, a hundred at most."""
    forgotten_before: int = 0
    """Likewise: requests before this version store no turn of any conversation. It is the latest version for which
    `forgotten` had no room."""
    model_named_by: int = 0
    """The version of the last change that named a model: earlier ones do not change the model any more."""
    dropping: tuple[int, ...] = ()
    """Numbers of generations whose tables may still exist, the latest first: a drop completes once they are removed."""
    created_ms: int = 0
    changed_ms: int = 0
    v: int = 1


class CollectionsQuery(Struct, frozen=True, kw_only=True, tag="collections_query", tag_field="type"):
    """Which collections has the account that the subject names?"""

    name: str = ""
    """Empty: all of them."""
    v: int = 1


class CollectionStatus(Struct, frozen=True, kw_only=True):
    name: str
    model: str
    dimensions: int
    documents: int
    chunks: int
    tokens: int
    """Estimated tokens of all chunks."""
    bytes: int
    """In the store."""
    building: str = ""
    """The model with whose vectors a new table is being filled; empty: none is."""
    updated_ms: int = 0
    sizes_known: bool = True
    """False: its table is missing or cannot be read, so that the sizes are 0. A drop removes it."""


class CollectionsReport(Struct, frozen=True, kw_only=True, tag="collections_report", tag_field="type"):
    collections: tuple[CollectionStatus, ...]
    v: int = 1
