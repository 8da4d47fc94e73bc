"""Keeps the tables of the store fast: optimises those that were changed, one after the other."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from penstock.bus.log_limits import rate_limited_logger
from penstock.runtime.aio import CriticalLoop
from services.indexer.store.errors import StoreError, UnknownTable
from services.indexer.store.tables import TableName

__all__ = ["MaintenanceQueue"]

_log: Final = rate_limited_logger(__name__)
_REST_S: Final = 2.0
"""Between two tables, and after a change: more changes often follow."""


class _Optimizing(Protocol):
    async def optimize(self, table: TableName) -> bool: ...


class MaintenanceQueue:
    """The store itself keeps other processes from optimising the same table at the same time."""

    def __init__(self, store: _Optimizing, rest_s: float = _REST_S) -> None:
        self._store = store
        self._rest_s = rest_s
        self._changed: dict[TableName, None] = {}
        self._wake = asyncio.Event()
        self._loop = CriticalLoop("maintenance of the store")
        self.optimized = 0

    def note_change(self, table: TableName) -> None:
        self._changed[table] = None
        self._wake.set()

    def start(self) -> None:
        self._loop.start(self._run())

    async def stop(self) -> None:
        await self._loop.stop()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(self._rest_s)
            while self._changed:
                await self._optimize(next(iter(self._changed)))

    async def _optimize(self, table: TableName) -> None:
        del self._changed[table]
        try:
            if await self._store.optimize(table):
                self.optimized += 1
        except UnknownTable:  # it was dropped
            pass
        except StoreError as error:
            _log.warning("a table could not be optimised; its searches stay correct: %r", error)
        except Exception:  # noqa: BLE001 - the next table may be sound
            _log.exception("a table could not be optimised; its searches stay correct")
