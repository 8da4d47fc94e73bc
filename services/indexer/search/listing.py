"""What collections there are, and the documents of one."""

from __future__ import annotations

from penstock.contract.retrieval.collections import (
    CollectionRecord,
    CollectionsQuery,
    CollectionsReport,
    CollectionStatus,
)
from penstock.contract.retrieval.search import DocumentsQuery, DocumentsReport, DocumentStatus
from services.indexer.collections.names import is_memory
from services.indexer.collections.tables import Records, Target, table_of
from services.indexer.search.lookup import CollectionLookup
from services.indexer.store.errors import StoreCorrupt, UnknownTable
from services.indexer.store.interface import Store, TableStatistics

__all__ = ["Listing"]


class Listing:
    """Every method raises SearchRefused, StoreError and RecordsUnavailable."""

    def __init__(self, store: Store, lookup: CollectionLookup, records: Records) -> None:
        self._store = store
        self._lookup = lookup
        self._records = records

    async def documents(self, account: str, query: DocumentsQuery) -> DocumentsReport:
        name = self._lookup.name_of(account, query.collection, query.user)

        async def question(target: Target) -> DocumentsReport:
            return await self._documents(target, query)

        report = await self._lookup.ask(account, name, question)
        if report is not None:
            return report
        if not query.collection:
            return DocumentsReport(documents=())
        raise self._lookup.unknown(account, query.collection)

    async def _documents(self, target: Target, query: DocumentsQuery) -> DocumentsReport:
        found = await self._store.list_documents(
            target.table, prefix=query.prefix, after=query.after, limit=query.limit + 1
        )
        listed = tuple(
            DocumentStatus(
                id=each.document.id,
                title=each.document.title,
                source=each.document.source,
                chunks=each.chunks,
                digest=each.document.digest,
                updated_ms=each.document.updated_ms,
            )
            for each in found[: query.limit]
        )
        return DocumentsReport(documents=listed, more=len(found) > query.limit)

    async def collections(self, account: str, query: CollectionsQuery) -> CollectionsReport:
        """Without the memory of users."""
        records = [
            record
            for record in await self._records.of_account(account)
            if record.current is not None and not is_memory(record.name) and query.name in {"", record.name}
        ]
        if query.name and not records:
            raise self._lookup.unknown(account, query.name)
        ordered = sorted(records, key=lambda record: record.name)
        return CollectionsReport(collections=tuple([await self._status(record) for record in ordered]))

    async def _status(self, record: CollectionRecord) -> CollectionStatus:
        current = record.current
        if current is None:
            raise ValueError("a dropped collection has no status")
        sizes_known = True
        try:
            counted = await self._store.statistics(table_of(record, current))
        except (UnknownTable, StoreCorrupt):
            counted = TableStatistics(documents=0, chunks=0, tokens=0, stored_bytes=0)
            sizes_known = False
        return CollectionStatus(
            name=record.name,
            model=current.model,
            dimensions=current.dimensions,
            documents=counted.documents,
            chunks=counted.chunks,
            tokens=counted.tokens,
            bytes=counted.stored_bytes,
            building="" if record.building is None else record.building.model,
            updated_ms=max(record.changed_ms, counted.changed_ms),
            sizes_known=sizes_known,
        )
