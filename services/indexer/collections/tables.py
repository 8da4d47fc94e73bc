"""The tables of one collection: created, dropped and switched so that a killed process leaves no wrong state.

A record is written before its table is created, and after its table is complete; a table is dropped after its record,
which names it in `dropping` until then. What a killed process leaves is such a table, which the next change of the
collection or `OrphanTables` removes, or a record without a table, for which `ensure` creates another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Protocol

from msgspec import Struct

from penstock.contract.retrieval.collections import CollectionRecord, DropCounts, Generation
from services.indexer.collections import transitions
from services.indexer.collections.names import is_memory
from services.indexer.collections.transitions import VectorKind, generations
from services.indexer.store.errors import StoreCorrupt, UnknownTable
from services.indexer.store.interface import Store
from services.indexer.store.pages import document_pages
from services.indexer.store.tables import TableName, table_name

__all__ = [
    "CollectionTables",
    "Dropped",
    "Records",
    "Target",
    "delete_documents",
    "table_of",
    "targets_of",
]

_PAGE: Final = 1_000


class Records(Protocol):
    """Raises RecordsUnavailable."""

    async def read(self, account: str, name: str) -> CollectionRecord | None: ...

    async def change(
        self, account: str, name: str, change: Callable[[CollectionRecord | None], CollectionRecord | None]
    ) -> CollectionRecord | None: ...

    async def all(self) -> list[CollectionRecord]: ...

    async def of_account(self, account: str) -> list[CollectionRecord]: ...


class Target(Struct, frozen=True):
    """One table of a collection, and the vectors that it holds."""

    table: TableName
    generation: Generation


class Dropped(Struct, frozen=True):
    counts: DropCounts = DropCounts()
    later: tuple[str, ...] = ()
    """Documents that stay, because a later request has written them; a thousand at most."""


def targets_of(record: CollectionRecord | None) -> list[Target]:
    """The tables that a change of documents is written to: first the one that search reads."""
    return [] if record is None else [Target(table_of(record, each), each) for each in generations(record)]


async def delete_documents(
    store: Store, table: TableName, ids: Sequence[str], version: int
) -> frozenset[str]:
    """Delete them in parts of a bounded size. Returns the ids that a higher version has written or deleted."""
    outdated: frozenset[str] = frozenset()
    for start in range(0, len(ids), _PAGE):
        outdated |= await store.replace(table, version, (), ids[start : start + _PAGE])
    return outdated


def table_of(record: CollectionRecord, generation: Generation) -> TableName:
    return table_name(record.account, record.name, generation.number)


class CollectionTables:
    def __init__(self, store: Store, records: Records, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._records = records
        self._now_ms = now_ms

    async def read(self, account: str, name: str) -> CollectionRecord | None:
        return await self._records.read(account, name)

    async def ensure(self, account: str, name: str, kind: VectorKind) -> CollectionRecord:
        """The collection with its tables; created with vectors of `kind` unless it exists."""
        record, is_new = await self._change(
            account, name, lambda stored: transitions.created(stored, account, name, kind, self._now_ms())
        )
        if record is None or record.current is None:
            raise AssertionError("a collection that was created has a record")
        if not is_new and not await self._store.exists(table_of(record, record.current)):
            change = partial(transitions.recreated, number=record.current.number, now_ms=self._now_ms())
            record, is_new = await self._change(account, name, change)
            if record is None or not is_new:  # another process was faster
                return await self.ensure(account, name, kind)
        return await self._with_tables(record, generations(record)[0 if is_new else 1 :])

    async def begin(self, account: str, name: str, kind: VectorKind, version: int) -> CollectionRecord | None:
        """With a table beside the current one for vectors of another kind, unless a later change has named a model.
        None: it was dropped meanwhile.
        """
        record = await self._records.change(
            account, name, lambda stored: transitions.begun(stored, kind, version, self._now_ms())
        )
        await self._drop_replaced(record)
        if record is None or record.current is None:
            return None
        return await self._with_tables(record, generations(record)[1:])

    async def switch(self, account: str, name: str, number: int) -> CollectionRecord | None:
        """Let search read the table `number`, and drop the old one."""
        record = await self._records.change(
            account, name, lambda stored: transitions.switched(stored, number, self._now_ms())
        )
        await self._drop_replaced(record)
        return record

    async def abandon_model_change(self, account: str, name: str, number: int) -> None:
        """Drop the table `number`, which was to become the current one."""
        record = await self._records.change(
            account, name, lambda stored: transitions.model_change_abandoned(stored, number, self._now_ms())
        )
        await self._drop_replaced(record)

    async def drop(self, account: str, name: str, version: int) -> Dropped:
        """Delete all that is older than `version`, and tables that cannot be read.

        Documents of later requests stay: a drop that was interrupted may run after them. Its counts are in the record
        before anything is removed, so that a repetition returns the same ones.
        """
        before = await self._records.read(account, name)
        if before is None and not is_memory(name):
            return Dropped()
        if before is None or before.current is None or before.dropped_by > version:
            return await self._drop_again(account, name, version)
        while True:
            record = await self._records.change(
                account, name, lambda stored: transitions.refusing_older(stored, version, self._now_ms())
            )
            if record is None or record.current is None or record.dropped_by > version:
                return _dropped(record, version)  # completely, or another drop was faster
            table = table_of(record, record.current)
            older, later = await self._count(record, table, DropCounts(known=False))
            if later:
                for target in targets_of(record):
                    await delete_documents(self._store, target.table, older, version)
                return _dropped(await self._records.read(account, name), version, later)
            # A later request may have written since. One that writes afterwards finds no table, and makes another.
            if await self._store.drop(table, unless_later=version):
                change = partial(transitions.dropped, number=record.current.number, now_ms=self._now_ms())
                await self._drop_replaced(await self._records.change(account, name, change))

    async def are_named(self, account: str, name: str, targets: Iterable[Target]) -> bool:
        """Whether the collection still has these tables: an error of one that was removed is no fault of the store."""
        numbers = {generation.number for generation in generations(await self.read(account, name))}
        return numbers.issuperset(target.generation.number for target in targets)

    async def forget(
        self, account: str, name: str, conversation: str, version: int
    ) -> CollectionRecord | None:
        """From now on, requests before `version` store no turn of the conversation in this memory."""
        empty = self._empty(account, name)
        return await self._records.change(
            account,
            name,
            lambda stored: transitions.forgotten(stored or empty, conversation, version, self._now_ms()),
        )

    async def remove(self, record: CollectionRecord, numbers: Iterable[int]) -> None:
        """Remove tables that a request wrote to after they were dropped, unless the record names them again."""
        named = {generation.number for generation in generations(record)}
        for number in numbers:
            if number not in named:
                await self._store.drop(table_name(record.account, record.name, number))

    async def _drop_again(self, account: str, name: str, version: int) -> Dropped:
        """Refuse older requests that have not begun, and remove the tables that a process left which was killed after
        it had changed the record.
        """
        empty = self._empty(account, name)
        record = await self._records.change(
            account,
            name,
            lambda stored: transitions.refusing_older(stored or empty, version, self._now_ms()),
        )
        if record is not None and record.dropping and record.dropped_by == version:
            await self._count(record, table_name(account, name, record.dropping[0]), DropCounts())
        await self._drop_replaced(record)
        return _dropped(await self._records.read(account, name), version)

    async def _change(
        self, account: str, name: str, change: Callable[[CollectionRecord | None], CollectionRecord | None]
    ) -> tuple[CollectionRecord | None, bool]:
        """The stored record, and whether this call has changed it."""
        after: CollectionRecord | None = None

        def compute(stored: CollectionRecord | None) -> CollectionRecord | None:
            nonlocal after
            after = change(stored)
            return after

        record = await self._records.change(account, name, compute)
        return record, after is not None

    def _empty(self, account: str, name: str) -> CollectionRecord:
        return CollectionRecord(account=account, name=name, current=None, created_ms=self._now_ms())

    async def _count(
        self, record: CollectionRecord, table: TableName, if_missing: DropCounts
    ) -> tuple[list[str], tuple[str, ...]]:
        """Write into the record what its drop deletes, unless it is there. Returns the ids of `_older`."""
        version = record.dropped_by
        older: dict[str, int] = {}
        later: tuple[str, ...] = ()
        try:
            older, later = await self._older(table, version)
            counts = DropCounts(documents=len(older), chunks=sum(older.values()))
        except UnknownTable:
            counts = if_missing
        except StoreCorrupt:
            counts = DropCounts(known=False)
        await self._records.change(
            record.account, record.name, lambda stored: transitions.drop_counted(stored, version, counts)
        )
        return list(older), later

    async def _older(self, table: TableName, version: int) -> tuple[dict[str, int], tuple[str, ...]]:
        """The older documents, with the number of their chunks, and ids of later ones, a thousand at most."""
        older: dict[str, int] = {}
        later: list[str] = []
        async for page in document_pages(self._store, table):
            for each in page:
                if each.version > version:
                    later.append(each.document.id)
                else:
                    older[each.document.id] = each.chunks
        return older, tuple(later[:_PAGE])

    async def _with_tables(self, record: CollectionRecord, missing: Iterable[Generation]) -> CollectionRecord:
        """`missing`: without the current one, unless its number is new. A drop may just have removed its table."""
        for generation in missing:
            await self._store.create(table_of(record, generation), generation.dimensions)
        return record

    async def _drop_replaced(self, record: CollectionRecord | None) -> None:
        """Drop the tables that the record names in `dropping`, the latest at last: it is counted by a repetition."""
        if record is None or not record.dropping:
            return
        for number in reversed(record.dropping):
            await self._store.drop(table_name(record.account, record.name, number))
        await self._records.change(
            record.account, record.name, lambda stored: transitions.removed(stored, record.dropping)
        )


def _dropped(record: CollectionRecord | None, version: int, later: tuple[str, ...] = ()) -> Dropped:
    """Without counts if another drop has counted, or there was nothing to count."""
    if record is None or record.dropped_by != version or record.drop_counts is None:
        return Dropped(later=later)
    return Dropped(record.drop_counts, later)
