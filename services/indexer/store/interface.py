"""The interface of a store: tables of documents in chunks, with their vectors, searched by vector and by words.

A table belongs to one generation of one collection of one account; no call reads more than one table. What a document
consists of is read from the store itself, which has no manifest beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec

from services.indexer.store.tables import TableName

__all__ = [
    "DELETED_KEPT_MS",
    "Change",
    "Chunk",
    "Document",
    "DocumentChunks",
    "DocumentState",
    "EmbeddedChunk",
    "FilterTerm",
    "Hit",
    "ListedDocument",
    "Question",
    "ReadLimit",
    "Store",
    "StoredChunk",
    "TableStatistics",
]

DELETED_KEPT_MS: Final = 7 * 24 * 3600 * 1000
"""The row of a deleted document is kept longer than any request is: it rejects older changes that come late."""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of a document beside its chunks. Texts are stored without NUL and lone surrogates."""

    id: str
    digest: str
    """Of everything that makes its chunks: content, title, source, metadata, and the version of the chunking."""
    title: str = ""
    source: str = ""
    metadata: bytes = b"{}"
    """A JSON object."""
    tags: tuple[str, ...] = ()
    """`tables.tag` of each pair of key and value that a filter may name."""
    updated_ms: int = 0


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    """32 hex digits: a digest of the embedded text (title, headings, text) and of the number of earlier chunks of the
    document with the same text.
    """
    ordinal: int
    """From 0, in the order of the document."""
    text: str
    heading: str = ""
    """The path of headings, for example "Install > Linux"."""
    start: int = 0
    end: int = 0
    """Characters of the extracted text."""
    page: int | None = None
    terms: str = ""
    """Normalised words separated by spaces, for the full-text search."""
    tokens: int = 0


class EmbeddedChunk(msgspec.Struct, frozen=True):
    chunk: Chunk
    vector: bytes
    """float32, little endian, as many as the table has dimensions; not all zero."""


class DocumentChunks(msgspec.Struct, frozen=True):
    """A whole document: afterwards it has exactly these chunks. It may have none."""

    document: Document
    chunks: tuple[EmbeddedChunk, ...]


class Change(msgspec.Struct, frozen=True):
    """What one atomic change of a table stores and deletes."""

    version: int
    documents: Sequence[DocumentChunks]
    deleted: Sequence[str]
    """Ids of documents."""
    now_ms: int
    """Unix milliseconds."""


class DocumentState(msgspec.Struct, frozen=True):
    """What is stored of a document now."""

    digest: str
    version: int
    chunks: tuple[str, ...]
    """Ids, in the order of the document."""


class StoredChunk(msgspec.Struct, frozen=True):
    document: Document
    chunk: Chunk


class Hit(StoredChunk, frozen=True):
    similarity: float
    """Cosine of the question's vector and the chunk's, -1 to 1, whichever search found it; 0 for a question without a
    vector.
    """


class FilterTerm(msgspec.Struct, frozen=True):
    """True for a document that has at least one of the tags; negated, for one that has none of them."""

    tags: tuple[str, ...]
    negated: bool = False


class Question(msgspec.Struct, frozen=True):
    vector: bytes | None
    """float32, little endian, as many as the table has dimensions; None for a search by words alone."""
    limit: int
    filter: tuple[FilterTerm, ...] = ()
    """All terms must be true."""


class ReadLimit(msgspec.Struct, frozen=True):
    """The most that one read of chunks may return."""

    tokens: int
    bytes: int
    """Of the texts and headings, and for each chunk of the id, title, source and metadata of its document."""


class ListedDocument(msgspec.Struct, frozen=True):
    document: Document
    version: int
    chunks: int


class TableStatistics(msgspec.Struct, frozen=True):
    documents: int
    chunks: int
    tokens: int
    stored_bytes: int
    """On disk, indexes and not yet removed old versions included; 0 where it is not known."""
    changed_ms: int = 0
    """Unix milliseconds of the last change of a document or deletion that is still known; 0 without one."""


class Store(Protocol):
    """Every call raises StoreUnavailable if it may be repeated, StoreCorrupt if that is useless, UnknownTable for a
    table that was not created or was dropped, and ValueError for an argument that breaks the rules of this module.
    """

    async def create(self, table: TableName, dimensions: int) -> None:
        """Create it unless it exists. Raises ValueError if it exists with other dimensions."""
        ...

    async def exists(self, table: TableName) -> bool:
        """As far as this process knows: of a table that another one has just dropped, a read or change knows more."""
        ...

    async def drop(self, table: TableName, unless_later: int | None = None) -> bool:
        """Remove the table and all its files for good. No error if it does not exist.

        False: it stays, because a document has a higher version than `unless_later`. In one atomic step, except in an
        object store: a change is either seen by it, or finds no table. A table that cannot be read is removed.
        """
        ...

    async def tables(self) -> dict[TableName, int]:
        """Every existing table, and when it was created, in ms since 1970: for the removal of orphans."""
        ...

    async def documents(self, table: TableName, ids: Sequence[str]) -> dict[str, DocumentState]:
        """Those of the documents that exist."""
        ...

    async def vectors(self, table: TableName, chunks: Sequence[str]) -> dict[str, bytes]:
        """Stored vectors by the id of the chunk, whichever document of the table has it."""
        ...

    async def replace(
        self,
        table: TableName,
        version: int,
        documents: Sequence[DocumentChunks],
        deleted: Sequence[str] = (),
    ) -> frozenset[str]:
        """Store whole documents and delete others, by their ids, in one atomic change.

        `version` orders the changes of a document, deletions included. A document that a higher version has written or
        deleted is left as it is; the ids of these are returned. The same version may be written again.
        """
        ...

    async def confirm(self, table: TableName, version: int, digests: Mapping[str, str]) -> frozenset[str]:
        """Raise the version of documents that are stored with the digests that are given by their ids, so that no lower
        version overwrites them. No text and no vector of a chunk is written. A higher version stays.

        Returns the ids of documents that are not stored with their digest: these were left as they are, unless a
        later change replaced them just now. Digests are hex digits.
        """
        ...

    async def search_vector(self, table: TableName, question: Question) -> list[Hit]:
        """The nearest chunks by cosine, nearest first."""
        ...

    async def search_text(self, table: TableName, terms: Sequence[str], question: Question) -> list[Hit]:
        """Chunks with at least one of the normalised words, best first."""
        ...

    async def all_chunks(
        self, table: TableName, filter_: tuple[FilterTerm, ...], most: ReadLimit | None = None
    ) -> list[StoredChunk] | None:
        """All chunks of the matching documents, by document and ordinal; None if they have more than `most`, which is
        found without reading more than that.
        """
        ...

    async def list_documents(
        self, table: TableName, *, prefix: str = "", after: str = "", limit: int = 100
    ) -> list[ListedDocument]:
        """Documents whose ids begin with `prefix`, by id (code points), those after `after` only."""
        ...

    async def latest_documents(
        self, table: TableName, filter_: tuple[FilterTerm, ...], limit: int
    ) -> list[str]:
        """Ids of the matching documents that were updated last, the last one first."""
        ...

    async def statistics(self, table: TableName) -> TableStatistics: ...

    async def optimize(self, table: TableName) -> bool:
        """Build or update indexes and compact files, if enough has changed to pay. Returns whether anything was done.

        Call it after changes; searches are correct without it, and become slower.
        """
        ...

    async def purge(self, table: TableName) -> None:
        """Afterwards no file of the store holds anything of a deleted or replaced chunk of this table."""
        ...

    async def close(self) -> None: ...
