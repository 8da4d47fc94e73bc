"""The store in PostgreSQL: vectors are searched by HNSW on half-precision copies, words by a GIN index."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from penstock.bus.clock import SYSTEM, Clock
from services.indexer.store.checks import (
    check_change,
    check_confirmation,
    check_filter,
    check_question,
    single_words,
    unconfirmed,
    vector_of,
)
from services.indexer.store.errors import StoreCorrupt, UnknownTable
from services.indexer.store.interface import (
    Change,
    Chunk,
    Document,
    DocumentChunks,
    DocumentState,
    FilterTerm,
    Hit,
    ListedDocument,
    Question,
    ReadLimit,
    StoredChunk,
    TableStatistics,
)
from services.indexer.store.postgres.database import Database
from services.indexer.store.postgres.failures import store_errors
from services.indexer.store.postgres.maintenance import optimize, purge
from services.indexer.store.postgres.replacement import confirm_documents, replace_documents
from services.indexer.store.postgres.schema import (
    DROP,
    EXISTING,
    INDEXED_DIMENSIONS,
    LATER,
    LOCK,
    TABLES,
    statement,
)
from services.indexer.store.postgres.text_search import FIRST_FILTER_VALUE, TextQuery, search_by_words
from services.indexer.store.rows import chunk_of, document_of
from services.indexer.store.tables import TableName, checked_digests, document_key

if TYPE_CHECKING:
    import asyncpg

__all__ = ["PostgresStore"]

_DOCUMENT: Final = "d.id, d.digest, d.title, d.source, d.metadata, d.tags, d.updated_ms"
_CHUNK: Final = "c.chunk, c.ordinal, c.text, c.heading, c.start_, c.end_, c.page, c.terms, c.tokens"
_COLUMNS: Final = f"{_DOCUMENT}, {_CHUNK}"
_NEAREST: Final = """
    SELECT {columns}, 1 - (c.vector <=> $1) AS similarity FROM {chunks} c JOIN {documents} d USING (key)
    WHERE true{filter} ORDER BY c.vector{half} <=> $1::vector{half} LIMIT $2
"""
_ALL: Final = """
    SELECT {columns} FROM {chunks} c JOIN {documents} d USING (key) WHERE true{filter} ORDER BY d.id, c.ordinal
"""
# Every statement locks the chunks before the documents, as a drop does: else two of them may wait for each other.
_STATES: Final = """
    WITH c AS (
        SELECT key, array_agg(chunk ORDER BY ordinal) AS chunks FROM {chunks} WHERE key = ANY($1) GROUP BY key
    )
    SELECT d.id, d.digest, d.version, coalesce(c.chunks, array[]::text[]) AS chunks
    FROM c RIGHT JOIN {documents} d USING (key) WHERE d.key = ANY($1) AND NOT d.deleted
"""
_VECTORS: Final = "SELECT DISTINCT ON (chunk) chunk, vector FROM {chunks} WHERE chunk = ANY($1)"
_LIST: Final = """
    SELECT d.* FROM {documents} d
    WHERE NOT deleted AND starts_with(id, $1) AND id > $2 ORDER BY id LIMIT $3
"""
_LATEST: Final = """
    SELECT c.id FROM {documents} c WHERE NOT deleted{filter} ORDER BY c.updated_ms DESC, c.id DESC LIMIT $1
"""
_TOKENS: Final = "SELECT coalesce(sum(tokens), 0) FROM {chunks} c WHERE true{filter}"
_BYTES: Final = """
    SELECT coalesce(sum(octet_length(c.text) + octet_length(c.heading) + octet_length(d.id) + octet_length(d.title)
        + octet_length(d.source) + octet_length(d.metadata)), 0)
    FROM {chunks} c JOIN {documents} d USING (key) WHERE true{filter}
"""
_STATISTICS: Final = """
    SELECT count(*) FILTER (WHERE NOT deleted) AS documents,
        coalesce(sum(chunks), 0) AS chunks, coalesce(sum(tokens), 0) AS tokens,
        coalesce(max(updated_ms), 0) AS changed_ms,
        pg_total_relation_size($1::text::regclass) + pg_total_relation_size($2::text::regclass) AS size
    FROM {documents}
"""


class PostgresStore:
    def __init__(self, url: str, clock: Clock = SYSTEM) -> None:
        self._database = Database(url)
        self._clock = clock
        self._optimizing = asyncio.Lock()
        """One table at a time: each may use all cores of the server and much memory."""

    async def open(self) -> None:
        await self._database.open()

    async def create(self, table: TableName, dimensions: int) -> None:
        now_ms = self._clock.unix_ms()

        async def task(connection: asyncpg.Connection) -> None:
            async with connection.transaction():
                insert = "INSERT INTO penstock_index.tables VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING name"
                if await connection.fetchval(insert, table, dimensions, now_ms) is None:
                    return
                for template in TABLES:
                    await connection.execute(statement(template, table, dimensions))

        await self._database.run(None, task)
        if await self._database.dimensions(table) != dimensions:
            raise ValueError(f"table {table} exists with other dimensions than {dimensions}")

    async def exists(self, table: TableName) -> bool:
        try:
            await self._database.dimensions(table)
        except UnknownTable:
            return False
        return True

    async def drop(self, table: TableName, unless_later: int | None = None) -> bool:
        async def task(connection: asyncpg.Connection) -> bool:
            async with connection.transaction():
                known = "SELECT name FROM penstock_index.tables WHERE name = $1 FOR UPDATE"
                if await connection.fetchval(known, table) is None:
                    return True
                if await connection.fetchval(statement(EXISTING, table)):
                    await connection.execute(statement(LOCK, table))
                    if unless_later is not None and await _has_later(connection, table, unless_later):
                        return False
                for template in DROP:
                    await connection.execute(statement(template, table))
                await connection.execute("DELETE FROM penstock_index.tables WHERE name = $1", table)
                return True

        self._database.forget(table)
        return await self._database.run(None, task)

    async def tables(self) -> dict[TableName, int]:
        rows = await self._database.fetch(None, "SELECT name, created_ms FROM penstock_index.tables")
        return {TableName(row["name"]): row["created_ms"] for row in rows}

    async def documents(self, table: TableName, ids: Sequence[str]) -> dict[str, DocumentState]:
        by_key = {document_key(id_): id_ for id_ in ids}
        rows = await self._fetch(table, _STATES, list(by_key))
        return {row["id"]: DocumentState(row["digest"], row["version"], tuple(row["chunks"])) for row in rows}

    async def vectors(self, table: TableName, chunks: Sequence[str]) -> dict[str, bytes]:
        rows = await self._fetch(table, _VECTORS, list(checked_digests(chunks)))
        return {row["chunk"]: row["vector"] for row in rows}

    async def replace(
        self,
        table: TableName,
        version: int,
        documents: Sequence[DocumentChunks],
        deleted: Sequence[str] = (),
    ) -> frozenset[str]:
        check_change(await self._database.dimensions(table), version, documents, deleted)
        change = Change(version, documents, deleted, self._clock.unix_ms())

        async def task(connection: asyncpg.Connection) -> frozenset[str]:
            return await replace_documents(connection, table, change)

        return await self._database.run(table, task)

    async def confirm(self, table: TableName, version: int, digests: Mapping[str, str]) -> frozenset[str]:
        check_confirmation(version, digests)
        by_key = {document_key(id_): digest for id_, digest in digests.items()}

        async def task(connection: asyncpg.Connection) -> None:
            await confirm_documents(connection, table, version, by_key)

        await self._database.run(table, task)
        return unconfirmed(await self.documents(table, list(digests)), version, digests)

    async def search_vector(self, table: TableName, question: Question) -> list[Hit]:
        dimensions = await self._database.dimensions(table)
        check_question(dimensions, question)
        condition, values = _conditions(question.filter, 3)
        half = "::halfvec({dimensions})" if dimensions <= INDEXED_DIMENSIONS else ""
        template = _filled(_NEAREST, condition).replace("{half}", half)
        sql = statement(template, table, dimensions)
        rows = await self._database.fetch(table, sql, vector_of(question), question.limit, *values)
        hits = [_hit(row) for row in rows]
        return sorted(hits, key=lambda hit: -hit.similarity)

    async def search_text(self, table: TableName, terms: Sequence[str], question: Question) -> list[Hit]:
        check_question(await self._database.dimensions(table), question)
        condition, values = _conditions(question.filter, FIRST_FILTER_VALUE)
        asked = TextQuery(single_words(terms), question.vector, question.limit, _COLUMNS, condition, values)

        async def task(connection: asyncpg.Connection) -> list[Any]:
            return await search_by_words(connection, table, asked)

        return [_hit(row) for row in await self._database.run(table, task)]

    async def all_chunks(
        self, table: TableName, filter_: tuple[FilterTerm, ...], most: ReadLimit | None = None
    ) -> list[StoredChunk] | None:
        check_filter(filter_)
        condition, values = _conditions(filter_, 1)

        async def task(connection: asyncpg.Connection) -> list[Any] | None:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                if most is not None:
                    for sum_, allowed in ((_TOKENS, most.tokens), (_BYTES, most.bytes)):
                        found = await connection.fetchval(statement(_filled(sum_, condition), table), *values)
                        if found > allowed:
                            return None
                rows: list[Any] = await connection.fetch(statement(_filled(_ALL, condition), table), *values)
                return rows

        rows = await self._database.run(table, task)
        return None if rows is None else [_stored(row) for row in rows]

    async def list_documents(
        self, table: TableName, *, prefix: str = "", after: str = "", limit: int = 100
    ) -> list[ListedDocument]:
        rows = await self._fetch(table, _LIST, prefix, after, limit)
        return [ListedDocument(_document(row), row["version"], row["chunks"]) for row in rows]

    async def latest_documents(
        self, table: TableName, filter_: tuple[FilterTerm, ...], limit: int
    ) -> list[str]:
        check_filter(filter_)
        condition, values = _conditions(filter_, 2)
        return [row["id"] for row in await self._fetch(table, _filled(_LATEST, condition), limit, *values)]

    async def statistics(self, table: TableName) -> TableStatistics:
        names = (statement("{documents}", table), statement("{chunks}", table))
        (row,) = await self._fetch(table, _STATISTICS, *names)
        return TableStatistics(
            row["documents"], int(row["chunks"]), int(row["tokens"]), row["size"], row["changed_ms"]
        )

    async def optimize(self, table: TableName) -> bool:
        dimensions = await self._database.dimensions(table)
        now_ms = self._clock.unix_ms()

        async def task(connection: asyncpg.Connection) -> bool:
            return await optimize(connection, table, dimensions, now_ms)

        async with self._optimizing:
            return await self._database.run(table, task)

    async def purge(self, table: TableName) -> None:
        async def task(connection: asyncpg.Connection) -> None:
            await purge(connection, table)

        await self._database.run(table, task)

    async def close(self) -> None:
        await self._database.close()

    async def _fetch(self, table: TableName, template: str, *values: object) -> list[Any]:
        return await self._database.fetch(table, statement(template, table), *values)


async def _has_later(connection: asyncpg.Connection, table: TableName, version: int) -> bool:
    """False for a table with damaged pages. The savepoint keeps the transaction after that error."""
    with suppress(StoreCorrupt), store_errors(table):
        async with connection.transaction():
            return bool(await connection.fetchval(statement(LATER, table), version))
    return False


def _conditions(filter_: tuple[FilterTerm, ...], first: int) -> tuple[str, list[list[str]]]:
    """Conditions that each begin with AND, and their values, numbered from `first`."""
    values = [list(term.tags) for term in filter_]
    conditions = [
        f" AND {'NOT ' if term.negated else ''}c.tags && ${number}::text[]"
        for number, term in enumerate(filter_, first)
    ]
    return "".join(conditions), values


def _filled(template: str, condition: str) -> str:
    return template.replace("{filter}", condition).replace("{columns}", _COLUMNS)


def _hit(row: Any) -> Hit:
    return Hit(_document(row), _chunk(row), row["similarity"])


def _stored(row: Any) -> StoredChunk:
    return StoredChunk(_document(row), _chunk(row))


def _document(row: Any) -> Document:
    return document_of(row, row["id"])


def _chunk(row: Any) -> Chunk:
    return chunk_of(row, row["chunk"], row["start_"], row["end_"])
