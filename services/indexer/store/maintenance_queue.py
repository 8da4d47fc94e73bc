"""Keeps the tables of the store fast: optimises those that were changed."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from penstock.bus.log_limits import rate_limited_logger
from penstock.runtime.aio import CriticalLoop, cancel_and_wait
from services.indexer.store.errors import StoreError, UnknownTable
from services.indexer.store.tables import TableName

__all__ = ["MaintenanceQueue"]

_log: Final = rate_limited_logger(__name__)
_REST_S: Final = 2.0
"""After a change: more changes often follow."""


class _Optimizing(Protocol):
    async def optimize(self, table: TableName) -> bool: ...


class MaintenanceQueue:
    """Each table in a task of its own, because a store may let one rest before it is optimised again. How many are
    worked on at once is decided by the store, which also keeps other processes from the same table.
    """

    def __init__(self, store: _Optimizing, rest_s: float = _REST_S) -> None:
        self._store = store
        self._rest_s = rest_s
        self._changed: dict[TableName, None] = {}
        self._running: dict[TableName, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._loop = CriticalLoop("maintenance of the store")

    def note_change(self, table: TableName) -> None:
        self._changed[table] = None
        self._wake.set()

    def start(self) -> None:
        self._loop.start(self._run())

    async def stop(self) -> None:
        await self._loop.stop()

    async def _run(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await asyncio.sleep(self._rest_s)
                for table in [table for table in self._changed if table not in self._running]:
                    del self._changed[table]
                    self._running[table] = asyncio.create_task(self._optimize(table))
        finally:
            await cancel_and_wait(*self._running.values())

    async def _optimize(self, table: TableName) -> None:
        try:
            await self._store.optimize(table)
        except UnknownTable:  # it was dropped
            pass
        except StoreError as error:
            _log.warning("a table could not be optimised; its searches stay correct: %r", error)
        except Exception:  # noqa: BLE001 - the next table may be sound
            _log.exception("a table could not be optimised; its searches stay correct")
        finally:
            del self._running[table]
            if table in self._changed:  # it was changed again meanwhile
                self._wake.set()
