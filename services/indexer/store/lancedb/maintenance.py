"""Index building, compaction and purging, each in a child process: they take up to a gigabyte, which would stay."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock.bus.clock import loop_now_s
from penstock.bus.log_limits import rate_limited_logger
from services.indexer.store.errors import StoreCorrupt, StoreError, StoreUnavailable, UnknownTable
from services.indexer.store.lancedb.database import Database
from services.indexer.store.lancedb.schema import CHUNKS, REMOVED
from services.indexer.store.lancedb.thresholds import TableState, Work, needed_work
from services.indexer.store.tables import TableName

if TYPE_CHECKING:
    from lancedb import AsyncTable

__all__ = ["Maintenance", "Order", "Outcome"]

_log: Final = rate_limited_logger(__name__)
_COMMAND: Final = (sys.executable, "-m", "services.indexer.store.lancedb.maintenance_process")
_LEAST_S: Final = 150.0
_ROWS_PER_S: Final = 800
"""A child that takes longer is killed: one that finds no memory may stop without an end. 50,000 chunks of 1,024
dimensions take 15 s; it may wait for locks as long as `locks` allows.
"""
_REST: Final = 3.0
"""A table rests for so many times the duration of its maintenance, which writes the whole table again."""
_LONGEST_REST_S: Final = 120.0
_MAX_BYTES: Final = 3 * 1024**3
"""Of the child's private memory. 50,000 and 200,000 chunks of 1,024 dimensions take 1.1 GB alike."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the child reads from its input, as JSON."""

    url: str
    table: str
    build_vector_index: bool
    purge: bool
    """Write everything again without what was deleted, and remove all older files."""
    kept_s: float
    """Age of the versions that are removed."""
    max_bytes: int
    """Of private memory; 0: no limit."""


class Outcome(msgspec.Struct, frozen=True):
    """What it answers."""

    error: str = ""
    """The class of the store's error; empty: it was done."""
    message: str = ""


class Maintenance:
    """One child at a time: each may use all cores and much memory."""

    def __init__(self, database: Database, kept_s: float) -> None:
        """`kept_s`: the age of the versions that are removed, longer than any read or change takes."""
        self._database = database
        self._kept_s = kept_s
        self._lock = asyncio.Lock()
        self._not_before_s: dict[TableName, float] = {}
        self._removals: dict[TableName, asyncio.Task[None]] = {}
        """Later removals of older versions, which running reads may still need."""

    async def optimize(self, table: TableName) -> bool:
        if not needed_work(await self._state(table)):
            return False
        await asyncio.sleep(self._not_before_s.get(table, 0) - loop_now_s())
        async with self._lock:
            state = await self._state(table)
            work = needed_work(state)  # another call may have done it meanwhile
            if not work:
                return False
            began_s = loop_now_s()
            await self._run(table, work, state, purge=False)
            ended_s = loop_now_s()
        self._not_before_s[table] = ended_s + min(_LONGEST_REST_S, _REST * (ended_s - began_s))
        self._remove_later(table)
        return True

    async def purge(self, table: TableName) -> None:
        await self._database.table(table)
        async with self._lock:
            state = await self._state(table)
            await self._run(table, needed_work(state), state, purge=True)

    async def close(self) -> None:
        """Wait for the child of another call."""
        removals = list(self._removals.values())
        for each in removals:
            each.cancel()
        await asyncio.gather(*removals, return_exceptions=True)
        async with self._lock:
            self._not_before_s.clear()

    def _remove_later(self, table: TableName) -> None:
        if (waiting := self._removals.pop(table, None)) is not None:
            waiting.cancel()
        task = self._removals[table] = asyncio.create_task(self._remove_old_versions(table))
        task.add_done_callback(lambda done: self._forget_removal(table, done))

    def _forget_removal(self, table: TableName, done: asyncio.Task[None]) -> None:
        if self._removals.get(table) is done:
            del self._removals[table]

    async def _remove_old_versions(self, table: TableName) -> None:
        await asyncio.sleep(self._kept_s + 1)
        try:
            async with self._lock:
                work = Work(build_vector_index=False, compact=True)
                await self._run(table, work, await self._state(table), purge=False)
        except UnknownTable:  # it was dropped
            return
        except StoreError as error:
            _log.warning(
                "old versions of a table were not removed, which the next maintenance does: %s", error
            )

    async def _state(self, table: TableName) -> TableState:
        return await self._database.read(table, _table_state)

    async def _run(self, table: TableName, work: Work, state: TableState, *, purge: bool) -> None:
        began_s = loop_now_s()
        order = Order(
            url=self._database.url,
            table=table,
            build_vector_index=work.build_vector_index,
            purge=purge,
            kept_s=self._kept_s,
            max_bytes=_MAX_BYTES,
        )
        outcome = await _outcome(order, _LEAST_S + state.rows / _ROWS_PER_S)
        if outcome.error:
            raise _error_of(outcome, table)
        _log.info(
            "%s of table %s took %.1f s", "purge" if purge else "maintenance", table, loop_now_s() - began_s
        )


async def _outcome(order: Order, timeout_s: float) -> Outcome:
    """What the child answered. It is killed after `timeout_s`, and ends with this process."""
    child = await asyncio.create_subprocess_exec(
        *_COMMAND, str(os.getpid()), stdin=PIPE, stdout=PIPE, env={**os.environ, "LANCEDB_LOG": "error"}
    )
    try:
        async with asyncio.timeout(timeout_s):
            answer, _ = await child.communicate(msgspec.json.encode(order))
    except (TimeoutError, OSError) as error:
        raise StoreUnavailable(f"the maintenance process did not answer: {error!r}") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if not answer:
        raise StoreUnavailable(
            f"the maintenance process ended with {child.returncode}, perhaps for want of memory"
        )
    return msgspec.json.decode(answer, type=Outcome)


def _error_of(outcome: Outcome, table: TableName) -> StoreError:
    if outcome.error == UnknownTable.__name__:
        return UnknownTable(table)
    kind = StoreCorrupt if outcome.error == StoreCorrupt.__name__ else StoreUnavailable
    return kind(outcome.message)


async def _table_state(table: AsyncTable) -> TableState:
    rows = await table.count_rows()
    chunks = await table.count_rows(CHUNKS)
    removed = await table.count_rows(f"ordinal = {REMOVED}")
    vector = await table.index_stats("vector_idx")
    words = await table.index_stats("terms_idx")
    files: Any = await table.stats()
    return TableState(
        chunks=chunks,
        heads=rows - chunks - removed,
        removed=removed,
        files=files["fragment_stats"]["num_fragments"],
        vector_rows=None if vector is None else vector.num_indexed_rows,
        words_unindexed=rows if words is None else words.num_unindexed_rows,
    )
