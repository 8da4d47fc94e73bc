"""The store by LanceDB. It finds the nearest vectors by an index of 4 bits per dimension, then compares exactly."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
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
from services.indexer.store.cosine import cosine_with
from services.indexer.store.errors import UnknownTable
from services.indexer.store.interface import (
    Change,
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
from services.indexer.store.lancedb.database import Database
from services.indexer.store.lancedb.filters import any_of, tags_condition
from services.indexer.store.lancedb.maintenance import Maintenance
from services.indexer.store.lancedb.replacement import KEYS_AT_ONCE, confirm_documents, replace_documents
from services.indexer.store.lancedb.rows import listed_document, rows_within, stored_chunk, vectors_of
from services.indexer.store.lancedb.schema import CHUNKS, DELETED, HEAD, HEADS, SEARCHED
from services.indexer.store.tables import TableName, checked_digests, document_key

if TYPE_CHECKING:
    from lancedb import AsyncTable

__all__ = ["LanceStore"]

_PROBES: Final = 20
"""Partitions of about 8,000 rows that a search reads at least; more, if a filter leaves too few hits."""
_REFINE: Final = 10
"""So many times the wanted number of hits are compared exactly."""
_KEPT_S: Final = 120.0
"""Age in seconds at which an older version of a table is removed; a read or change that takes longer fails."""
_LISTED: Final = ("document", "digest", "title", "source", "metadata", "tags", "updated_ms")


class LanceStore:
    def __init__(self, url: str, clock: Clock = SYSTEM, kept_s: float = _KEPT_S) -> None:
        """`kept_s`: the age in seconds at which older versions are removed, longer than any read or change takes."""
        self._database = Database(url, clock)
        self._maintenance = Maintenance(self._database, kept_s)
        self._clock = clock

    async def open(self) -> None:
        await self._database.open()

    async def create(self, table: TableName, dimensions: int) -> None:
        await self._database.create(table, dimensions)

    async def exists(self, table: TableName) -> bool:
        try:
            await self._database.dimensions(table)
        except UnknownTable:
            return False
        return True

    async def drop(self, table: TableName, unless_later: int | None = None) -> bool:
        return await self._database.drop(table, unless_later)

    async def tables(self) -> dict[TableName, int]:
        return await self._database.names()

    async def documents(self, table: TableName, ids: Sequence[str]) -> dict[str, DocumentState]:
        by_key = {document_key(id_): id_ for id_ in ids}
        columns = ["key", "chunk", "ordinal", "digest", "version"]
        keys, rows = list(by_key), []
        for begin in range(0, len(keys), KEYS_AT_ONCE):
            condition = any_of("key", keys[begin : begin + KEYS_AT_ONCE])
            rows += await self._rows(table, f"{condition} AND ordinal >= {HEAD}", columns)
        heads = {row["key"]: row for row in rows if row["ordinal"] == HEAD}
        chunks: dict[str, list[str]] = {key: [] for key in heads}
        for row in sorted(rows, key=lambda row: int(row["ordinal"])):
            if row["ordinal"] >= 0:
                chunks[row["key"]].append(row["chunk"])
        return {
            by_key[key]: DocumentState(head["digest"], head["version"], tuple(chunks[key]))
            for key, head in heads.items()
        }

    async def vectors(self, table: TableName, chunks: Sequence[str]) -> dict[str, bytes]:
        wanted = checked_digests(sorted(set(chunks)))
        found: dict[str, bytes] = {}
        for begin in range(0, len(wanted), KEYS_AT_ONCE):
            condition = _and(any_of("chunk", list(wanted[begin : begin + KEYS_AT_ONCE])), CHUNKS)

            async def query(opened: AsyncTable, condition: str = condition) -> Any:
                return await opened.query().where(condition).select(["chunk", "vector"]).to_arrow()

            rows = await self._database.read(table, query)
            found |= zip(rows.column("chunk").to_pylist(), vectors_of(rows), strict=True)
        return found

    async def replace(
        self,
        table: TableName,
        version: int,
        documents: Sequence[DocumentChunks],
        deleted: Sequence[str] = (),
    ) -> frozenset[str]:
        check_change(await self._database.dimensions(table), version, documents, deleted)
        change = Change(version, documents, deleted, self._clock.unix_ms())

        async def apply(opened: AsyncTable) -> frozenset[str]:
            return await replace_documents(opened, change)

        return await self._database.change(table, apply)

    async def confirm(self, table: TableName, version: int, digests: Mapping[str, str]) -> frozenset[str]:
        check_confirmation(version, digests)
        by_key = {document_key(id_): digest for id_, digest in digests.items()}
        keys = list(by_key)

        async def apply(opened: AsyncTable) -> int:
            raised = 0
            for begin in range(0, len(keys), KEYS_AT_ONCE):
                page = keys[begin : begin + KEYS_AT_ONCE]
                raised += await confirm_documents(opened, version, {key: by_key[key] for key in page})
            return raised

        if await self._database.change(table, apply) == len(digests):
            return frozenset()
        return unconfirmed(await self.documents(table, list(digests)), version, digests)

    async def search_vector(self, table: TableName, question: Question) -> list[Hit]:
        check_question(await self._database.dimensions(table), question)
        condition, vector = tags_condition(question.filter), vector_of(question)

        async def query(opened: AsyncTable) -> Any:
            nearest = opened.query().nearest_to(memoryview(vector).cast("f").tolist())
            nearest = nearest.distance_type("cosine").refine_factor(_REFINE)
            nearest = nearest.minimum_nprobes(_PROBES).maximum_nprobes(0)
            if condition is not None:
                nearest = nearest.where(condition)
            return await nearest.select([*SEARCHED, "_distance"]).limit(question.limit).to_list()

        return [_hit(row, 1 - row["_distance"]) for row in await self._database.read(table, query)]

    async def search_text(self, table: TableName, terms: Sequence[str], question: Question) -> list[Hit]:
        check_question(await self._database.dimensions(table), question)
        words = " ".join(single_words(terms))
        if not words:
            return []
        condition = tags_condition(question.filter)

        async def query(opened: AsyncTable) -> Any:
            from lancedb.query import MatchQuery

            matching = await opened.search(MatchQuery(words, "terms"), query_type="fts")
            if condition is not None:
                matching = matching.where(condition)
            return await matching.select([*SEARCHED, "vector", "_score"]).limit(question.limit).to_arrow()

        found = await self._database.read(table, query)
        cosine = cosine_with(question.vector)
        rows = found.drop_columns("vector").to_pylist()
        return [_hit(row, cosine(vector)) for row, vector in zip(rows, vectors_of(found), strict=True)]

    async def all_chunks(
        self, table: TableName, filter_: tuple[FilterTerm, ...], most: ReadLimit | None = None
    ) -> list[StoredChunk] | None:
        check_filter(filter_)
        tags = tags_condition(filter_)

        async def query(opened: AsyncTable) -> list[dict[str, Any]] | None:
            if most is not None:
                heads = await opened.query().where(_and(HEADS, tags)).select(["tokens"]).to_arrow()
                if sum(heads.column("tokens").to_pylist()) > most.tokens:
                    return None
            return await rows_within(opened.query().where(_and(CHUNKS, tags)), most)

        rows = await self._database.read(table, query)
        if rows is None:
            return None
        rows.sort(key=lambda row: (row["document"], row["ordinal"]))
        return [stored_chunk(row) for row in rows]

    async def list_documents(
        self, table: TableName, *, prefix: str = "", after: str = "", limit: int = 100
    ) -> list[ListedDocument]:
        async def query(opened: AsyncTable) -> Any:
            from lancedb.expr import col, lit
            from lancedb.query import ColumnOrdering

            wanted = (
                (col("ordinal") == lit(HEAD))
                & (col("document") >= lit(prefix))
                & (col("document") > lit(after))
            )
            columns = [*_LISTED, "version", "chunks"]
            ordering = ColumnOrdering(column_name="document")
            return (
                await opened.query().where(wanted).order_by([ordering]).limit(limit).select(columns).to_list()
            )

        found = [listed_document(row) for row in await self._database.read(table, query)]
        return [each for each in found if each.document.id.startswith(prefix)]

    async def latest_documents(
        self, table: TableName, filter_: tuple[FilterTerm, ...], limit: int
    ) -> list[str]:
        check_filter(filter_)
        wanted = _and(HEADS, tags_condition(filter_))

        async def query(opened: AsyncTable) -> Any:
            from lancedb.query import ColumnOrdering

            order = [ColumnOrdering(column_name=each, ascending=False) for each in ("updated_ms", "document")]
            found = opened.query().where(wanted).order_by(order).limit(limit)
            return await found.select(["document", "updated_ms"]).to_list()

        return [row["document"] for row in await self._database.read(table, query)]

    async def statistics(self, table: TableName) -> TableStatistics:
        both = await self._rows(
            table, f"{HEADS} OR ordinal = {DELETED}", ["ordinal", "chunks", "tokens", "updated_ms"]
        )
        heads = [row for row in both if row["ordinal"] != DELETED]
        directory = self._database.directory
        size = 0 if directory is None else await asyncio.to_thread(_bytes_in, directory / f"{table}.lance")
        return TableStatistics(
            len(heads),
            sum(row["chunks"] for row in heads),
            sum(row["tokens"] for row in heads),
            size,
            max((row["updated_ms"] for row in both), default=0),
        )

    async def optimize(self, table: TableName) -> bool:
        return await self._maintenance.optimize(table)

    async def purge(self, table: TableName) -> None:
        await self._maintenance.purge(table)

    async def close(self) -> None:
        await self._maintenance.close()
        self._database.close()

    async def _rows(self, table: TableName, condition: str, columns: list[str]) -> list[dict[str, Any]]:
        async def query(opened: AsyncTable) -> Any:
            return await opened.query().where(condition).select(columns).to_list()

        found: list[dict[str, Any]] = await self._database.read(table, query)
        return found


def _and(condition: str, other: str | None) -> str:
    return condition if other is None else f"{condition} AND {other}"


def _hit(row: dict[str, Any], similarity: float) -> Hit:
    found = stored_chunk(row)
    return Hit(found.document, found.chunk, similarity)


def _bytes_in(directory: Path) -> int:
    """Files may disappear while they are counted."""
    size = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                size += Path(folder, name).stat().st_size
    return size
