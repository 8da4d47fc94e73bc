"""Tables of the store that no record names: those of dropped collections and killed changes of model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from penstock.bus.clock import Clock
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.retrieval.collections import CollectionRecord
from services.indexer.collections.tables import Records
from services.indexer.collections.transitions import generations
from services.indexer.store.interface import Store
from services.indexer.store.tables import TableName, table_name

__all__ = ["OrphanTables"]

_log: Final = rate_limited_logger(__name__)
_LEAST_AGE_S: Final = 60.0
"""Searches that began before a switch may still read the old table."""


class OrphanTables:
    def __init__(
        self, store: Store, records: Records, clock: Clock, least_age_s: float = _LEAST_AGE_S
    ) -> None:
        self._store = store
        self._records = records
        self._clock = clock
        self._least_age_s = least_age_s

    async def remove(self) -> int:
        """Returns how many were removed.

        The tables are listed before the records are read, and a record is written before its table is created: a table
        of a new collection is never taken for an orphan.
        """
        tables = await self._store.tables()
        records = await self._records.all()
        if not records:
            if tables:
                _log.warning(
                    "the store has %d tables and the bucket has no collections: nothing is removed, the bucket may "
                    "have been lost",
                    len(tables),
                )
            return 0
        oldest_ms = self._clock.unix_ms() - self._least_age_s * 1000
        named = _named(records)
        orphans = [table for table, made_ms in tables.items() if table not in named and made_ms < oldest_ms]
        for table in orphans:
            await self._store.drop(table)
        return len(orphans)


def _named(records: Iterable[CollectionRecord]) -> set[TableName]:
    return {
        table_name(record.account, record.name, generation.number)
        for record in records
        for generation in generations(record)
    }
