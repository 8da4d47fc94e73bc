"""One transaction that replaces documents, and locks them first in the order of their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from services.indexer.store.checks import storable
from services.indexer.store.interface import Change, DocumentChunks, EmbeddedChunk
from services.indexer.store.postgres.schema import statement
from services.indexer.store.postgres.words import word_vector
from services.indexer.store.tables import TableName, document_key

if TYPE_CHECKING:
    import asyncpg

__all__ = ["confirm_documents", "replace_documents"]

_LOCK_CHUNKS: Final = "LOCK TABLE {chunks} IN ROW EXCLUSIVE MODE"
# New documents get a row, so that two transactions that insert the same document wait for each other.
_INSERT: Final = """
    INSERT INTO {documents} (key, version, deleted) SELECT key, 0, true FROM unnest($1::text[]) AS key
    ORDER BY key ON CONFLICT DO NOTHING
"""
_LOCK: Final = "SELECT key, version FROM {documents} WHERE key = ANY($1) ORDER BY key FOR UPDATE"
_CONFIRM: Final = """
    UPDATE {documents} d SET version = $3 FROM unnest($1::text[], $2::text[]) AS known (key, digest)
    WHERE d.key = known.key AND NOT d.deleted AND d.digest = known.digest AND d.version < $3
"""
_STORE_DOCUMENT: Final = """
    UPDATE {documents} SET version = $2, deleted = false, id = $3, digest = $4, title = $5, source = $6, metadata = $7,
        tags = $8, updated_ms = $9, chunks = $10, tokens = $11
    WHERE key = $1
"""
_DELETE_DOCUMENTS: Final = """
    UPDATE {documents} SET version = $2, deleted = true, id = NULL, digest = NULL, title = NULL, source = NULL,
        metadata = NULL, tags = NULL, updated_ms = $3, chunks = 0, tokens = 0
    WHERE key = ANY($1)
"""
_DELETE_CHUNKS: Final = "DELETE FROM {chunks} WHERE key = ANY($1) AND key || chunk <> ALL($2)"
# An unchanged chunk is not written again: the vector index would get another entry for it.
_STORE_CHUNK: Final = """
    INSERT INTO {chunks} AS old
        (key, chunk, ordinal, text, heading, start_, end_, page, terms, tokens, tags, words, vector)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::text::tsvector, $13)
    ON CONFLICT (key, chunk) DO UPDATE SET
        ordinal = excluded.ordinal, text = excluded.text, heading = excluded.heading,
        start_ = excluded.start_, end_ = excluded.end_, page = excluded.page, terms = excluded.terms,
        tokens = excluded.tokens, tags = excluded.tags, words = excluded.words, vector = excluded.vector
    WHERE (old.ordinal, old.text, old.heading, old.start_, old.end_, old.page, old.terms, old.tokens, old.tags,
            old.vector)
        IS DISTINCT FROM (excluded.ordinal, excluded.text, excluded.heading, excluded.start_, excluded.end_,
            excluded.page, excluded.terms, excluded.tokens, excluded.tags, excluded.vector)
"""


async def replace_documents(
    connection: asyncpg.Connection, table: TableName, change: Change
) -> frozenset[str]:
    """The ids of the documents that have a higher version, and were left as they are."""
    stored = {document_key(each.document.id): each for each in change.documents}
    deleted = {document_key(id_): id_ for id_ in change.deleted}
    keys = sorted([*stored, *deleted])
    async with connection.transaction():
        await connection.execute(statement(_LOCK_CHUNKS, table))
        await connection.execute(statement(_INSERT, table), keys)
        rows = await connection.fetch(statement(_LOCK, table), keys)
        outdated = {row["key"] for row in rows if row["version"] > change.version}
        current = {key: each for key, each in stored.items() if key not in outdated}
        removed = [key for key in deleted if key not in outdated]
        await _store(connection, table, change.version, current)
        await connection.execute(statement(_DELETE_DOCUMENTS, table), removed, change.version, change.now_ms)
        kept = [f"{key}{each.chunk.id}" for key, document in current.items() for each in document.chunks]
        await connection.execute(statement(_DELETE_CHUNKS, table), [*current, *removed], kept)
        await connection.executemany(
            statement(_STORE_CHUNK, table),
            [
                _chunk_values(key, document, each)
                for key, document in current.items()
                for each in document.chunks
            ],
        )
    return frozenset(deleted[key] if key in deleted else stored[key].document.id for key in outdated)


async def confirm_documents(
    connection: asyncpg.Connection, table: TableName, version: int, digests: dict[str, str]
) -> None:
    """Raise the version of the documents that have these digests, by their keys."""
    keys = sorted(digests)
    async with connection.transaction():
        await connection.fetch(statement(_LOCK, table), keys)
        values = [digests[key] for key in keys]
        await connection.execute(statement(_CONFIRM, table), keys, values, version)


async def _store(
    connection: asyncpg.Connection, table: TableName, version: int, documents: dict[str, DocumentChunks]
) -> None:
    await connection.executemany(
        statement(_STORE_DOCUMENT, table),
        [_document_values(key, version, each) for key, each in documents.items()],
    )


def _document_values(key: str, version: int, document: DocumentChunks) -> tuple[object, ...]:
    head = document.document
    return (
        key,
        version,
        head.id,
        storable(head.digest),
        storable(head.title),
        storable(head.source),
        head.metadata,
        list(head.tags),
        head.updated_ms,
        len(document.chunks),
        sum(each.chunk.tokens for each in document.chunks),
    )


def _chunk_values(key: str, document: DocumentChunks, embedded: EmbeddedChunk) -> tuple[object, ...]:
    chunk = embedded.chunk
    terms = storable(chunk.terms)
    return (
        key,
        chunk.id,
        chunk.ordinal,
        storable(chunk.text),
        storable(chunk.heading),
        chunk.start,
        chunk.end,
        chunk.page,
        terms,
        chunk.tokens,
        list(document.document.tags),
        word_vector(terms),
        embedded.vector,
    )
