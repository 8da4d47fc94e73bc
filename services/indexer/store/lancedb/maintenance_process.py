"""The process that maintains one table, and ends. It may be killed at any moment: LanceDB publishes each step whole."""

from __future__ import annotations

import asyncio
import resource
import sys
import time
import warnings
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from penstock.runtime.processes.pdeathsig import end_with_parent
from services.indexer.store.errors import StoreError, StoreUnavailable
from services.indexer.store.interface import DELETED_KEPT_MS
from services.indexer.store.lancedb.database import Database, create_search_indexes
from services.indexer.store.lancedb.failures import is_conflict, store_errors
from services.indexer.store.lancedb.maintenance import Order, Outcome
from services.indexer.store.lancedb.schema import BITS, DELETED, REMOVED, dimensions_of
from services.indexer.store.tables import TableName

if TYPE_CHECKING:
    from lancedb import AsyncTable

__all__: list[str] = []

_ATTEMPTS: Final = 5
_DIMENSIONS_STEP: Final = 8
"""The dimensions of compressed vectors are a multiple of it. Others are indexed as they are, larger and slower."""


async def _maintain(order: Order) -> None:
    database = Database(order.url)
    await database.open()
    name = TableName(order.table)
    table = await database.table(name)
    with database.locks.maintaining(name) as is_first:
        if is_first or order.purge:
            await _attempt(database, table, order)


async def _attempt(database: Database, table: AsyncTable, order: Order) -> None:
    name = TableName(order.table)
    for attempt in range(_ATTEMPTS):
        # The first attempt runs beside changes. After a conflict with one, the next attempts exclude them.
        exclusive = order.purge or attempt > 0
        async with database.locks.exclusive(name) if exclusive else database.locks.shared(name):
            with store_errors(name):
                try:
                    await table.checkout_latest()
                    await (_purge(table, order) if order.purge else _optimize(table, order))
                except (OSError, RuntimeError, ValueError) as error:
                    if not is_conflict(error):
                        raise
                else:
                    return
    raise StoreUnavailable("other processes change the table all the time")


async def _optimize(table: AsyncTable, order: Order) -> None:
    await _delete_emptied(table)
    if order.build_vector_index:
        await _build_vector_index(table)
    await table.optimize(cleanup_older_than=timedelta(seconds=order.kept_s))


async def _purge(table: AsyncTable, order: Order) -> None:
    """Compaction keeps deleted rows in large files, and indexes keep their words: so all of it is written again."""
    await _delete_emptied(table)
    await table.update(updates_sql={"ordinal": "ordinal"})
    await create_search_indexes(table, replace=True)
    if order.build_vector_index or await table.index_stats("vector_idx") is not None:
        await _build_vector_index(table)
    with warnings.catch_warnings():
        # It warns that readers of older versions fail; they try again, and changes are locked out.
        warnings.simplefilter("ignore", UserWarning)
        # What a killed process left is removed too, where no other process can be about to publish it.
        has_locks = Database(order.url).directory is not None
        await table.optimize(cleanup_older_than=timedelta(0), delete_unverified=has_locks)


async def _delete_emptied(table: AsyncTable) -> None:
    before_ms = time.time_ns() // 1_000_000 - DELETED_KEPT_MS
    emptied = f"ordinal = {REMOVED} OR (ordinal = {DELETED} AND updated_ms < {before_ms})"
    if await table.count_rows(emptied):
        await table.delete(emptied)


async def _build_vector_index(table: AsyncTable) -> None:
    from lancedb.index import IvfFlat, IvfRq

    compressible = dimensions_of(await table.schema()) % _DIMENSIONS_STEP == 0
    config = IvfRq(distance_type="cosine", num_bits=BITS) if compressible else IvfFlat(distance_type="cosine")
    await table.create_index("vector", config=config, replace=True)


def _main(parent_pid: str) -> None:
    end_with_parent(int(parent_pid))
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    if order.max_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (order.max_bytes, order.max_bytes))
    try:
        asyncio.run(_maintain(order))
    except StoreError as error:
        outcome = Outcome(type(error).__name__, str(error))
    else:
        outcome = Outcome()
    sys.stdout.buffer.write(msgspec.json.encode(outcome))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main(*sys.argv[1:])
