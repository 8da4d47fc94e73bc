"""A store in memory that keeps every rule of the interface: for tests of what uses a store."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from penstock.bus.clock import SYSTEM
from services.indexer.store.checks import check_confirmation, unconfirmed, vector_of
from services.indexer.store.errors import UnknownTable
from services.indexer.store.interface import (
    DocumentChunks,
    DocumentState,
    EmbeddedChunk,
    FilterTerm,
    Hit,
    ListedDocument,
    Question,
    ReadLimit,
    StoredChunk,
    TableStatistics,
)
from services.indexer.store.tables import TableName, checked_digests


class _Stored(msgspec.Struct):
    version: int
    content: DocumentChunks | None
    """None: deleted."""
    changed_ms: int


class _Table(msgspec.Struct):
    dimensions: int
    stored: dict[str, _Stored] = {}

    def live(self, filter_: tuple[FilterTerm, ...] = ()) -> list[DocumentChunks]:
        by_id = sorted(self.stored.items())
        return [each.content for _, each in by_id if each.content and _matches(each.content, filter_)]

    def chunks(self, filter_: tuple[FilterTerm, ...]) -> Iterable[tuple[StoredChunk, EmbeddedChunk]]:
        for content in self.live(filter_):
            for each in content.chunks:
                yield StoredChunk(content.document, each.chunk), each


class MemoryStore:
    def __init__(self) -> None:
        self._tables: dict[TableName, _Table] = {}

    async def create(self, table: TableName, dimensions: int) -> None:
        if self._tables.setdefault(table, _Table(dimensions)).dimensions != dimensions:
            raise ValueError(f"table {table} exists with other dimensions")

    async def exists(self, table: TableName) -> bool:
        return table in self._tables

    async def drop(self, table: TableName, unless_later: int | None = None) -> bool:
        held = self._tables.get(table)
        if held is not None and unless_later is not None:
            stored = held.stored.values()
            if any(each.content is not None and each.version > unless_later for each in stored):
                return False
        self._tables.pop(table, None)
        return True

    async def tables(self) -> dict[TableName, int]:
        return dict.fromkeys(self._tables, 1)

    async def documents(self, table: TableName, ids: Sequence[str]) -> dict[str, DocumentState]:
        stored = self._table(table).stored
        return {
            id_: DocumentState(
                content.document.digest, stored[id_].version, tuple(each.chunk.id for each in content.chunks)
            )
            for id_ in ids
            if id_ in stored and (content := stored[id_].content) is not None
        }

    async def vectors(self, table: TableName, chunks: Sequence[str]) -> dict[str, bytes]:
        wanted = set(chunks)
        found = self._table(table).chunks(())
        return {each.chunk.id: each.vector for _, each in found if each.chunk.id in wanted}

    async def replace(
        self,
        table: TableName,
        version: int,
        documents: Sequence[DocumentChunks],
        deleted: Sequence[str] = (),
    ) -> frozenset[str]:
        held = self._table(table)
        for each in documents:
            if any(len(chunk.vector) != 4 * held.dimensions for chunk in each.chunks):
                raise ValueError("a vector has another number of dimensions than the table")
        changes: dict[str, DocumentChunks | None] = {each.document.id: each for each in documents}
        changes |= dict.fromkeys(deleted)
        outdated = {id_ for id_ in changes if id_ in held.stored and held.stored[id_].version > version}
        held.stored |= {
            id_: _Stored(
                version, content, SYSTEM.unix_ms() if content is None else content.document.updated_ms
            )
            for id_, content in changes.items()
            if id_ not in outdated
        }
        return frozenset(outdated)

    async def confirm(self, table: TableName, version: int, digests: Mapping[str, str]) -> frozenset[str]:
        check_confirmation(version, digests)
        for id_, state in (await self.documents(table, list(digests))).items():
            if state.digest == digests[id_] and state.version < version:
                self._table(table).stored[id_].version = version
        return unconfirmed(await self.documents(table, list(digests)), version, digests)

    async def search_vector(self, table: TableName, question: Question) -> list[Hit]:
        hits = [
            Hit(found.document, found.chunk, _cosine(vector_of(question), each.vector))
            for found, each in self._table(table).chunks(question.filter)
        ]
        return sorted(hits, key=lambda hit: -hit.similarity)[: question.limit]

    async def search_text(self, table: TableName, terms: Sequence[str], question: Question) -> list[Hit]:
        wanted = set(terms)
        ranked = [
            (
                len(wanted & set(found.chunk.terms.split())),
                Hit(found.document, found.chunk, _cosine(question.vector, each.vector)),
            )
            for found, each in self._table(table).chunks(question.filter)
        ]
        ranked.sort(key=lambda item: -item[0])
        return [hit for rank, hit in ranked if rank][: question.limit]

    async def all_chunks(
        self, table: TableName, filter_: tuple[FilterTerm, ...], most: ReadLimit | None = None
    ) -> list[StoredChunk] | None:
        found = [each for each, _ in self._table(table).chunks(filter_)]
        if most is None:
            return found
        tokens = sum(each.chunk.tokens for each in found)
        size = sum(len(each.chunk.text.encode()) for each in found)
        return None if tokens > most.tokens or size > most.bytes else found

    async def list_documents(
        self, table: TableName, *, prefix: str = "", after: str = "", limit: int = 100
    ) -> list[ListedDocument]:
        held = self._table(table)
        listed = [
            ListedDocument(
                each.document,
                held.stored[each.document.id].version,
                len(each.chunks),
            )
            for each in held.live()
            if each.document.id.startswith(prefix) and each.document.id > after
        ]
        return listed[:limit]

    async def latest_documents(
        self, table: TableName, filter_: tuple[FilterTerm, ...], limit: int
    ) -> list[str]:
        found = [each.document for each in self._table(table).live(filter_)]
        found.sort(key=lambda each: (each.updated_ms, each.id), reverse=True)
        return [each.id for each in found[:limit]]

    async def statistics(self, table: TableName) -> TableStatistics:
        found = [each for each, _ in self._table(table).chunks(())]
        tokens = sum(each.chunk.tokens for each in found)
        changed_ms = max((each.changed_ms for each in self._table(table).stored.values()), default=0)
        return TableStatistics(len(self._table(table).live()), len(found), tokens, 0, changed_ms)

    async def optimize(self, table: TableName) -> bool:
        self._table(table)
        return False

    async def purge(self, table: TableName) -> None:
        self._table(table)

    async def close(self) -> None: ...

    def _table(self, table: TableName) -> _Table:
        if table not in self._tables:
            raise UnknownTable(table)
        return self._tables[table]


def _matches(content: DocumentChunks, filter_: tuple[FilterTerm, ...]) -> bool:
    tags = set(content.document.tags)
    return all(tags.isdisjoint(checked_digests(term.tags)) == term.negated for term in filter_)


def _cosine(one: bytes | None, other: bytes) -> float:
    if one is None:
        return 0.0
    a, b = array("f", one), array("f", other)
    product = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / product if product else 0.0
