"""Locks of the tables in a directory: changes share one, the removal of old files excludes all changes.

LanceDB orders changes by itself. The removal of every unreferenced file, however, would take those of a change that is
about to be committed. The kernel releases the locks of a killed process. An object store has no locks: see `purge`.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from services.indexer.store.errors import StoreUnavailable
from services.indexer.store.tables import TableName

__all__ = ["TableLocks"]

_WAIT_S: Final = 120.0
"""A purge of 50,000 chunks takes some 15 s."""
_QUEUE: Final = ".queue"
_MAINTENANCE: Final = ".maintenance"
_FIRST_POLL_S, _LONGEST_POLL_S = 0.002, 0.1


class TableLocks:
    def __init__(self, directory: Path | None) -> None:
        """None: an object store."""
        self._directory = directory

    @asynccontextmanager
    async def shared(self, table: TableName) -> AsyncIterator[None]:
        async with self._held(table, fcntl.LOCK_SH):
            yield

    @asynccontextmanager
    async def exclusive(self, table: TableName) -> AsyncIterator[None]:
        async with self._held(table, fcntl.LOCK_EX):
            yield

    @contextmanager
    def maintaining(self, table: TableName) -> Iterator[bool]:
        """Whether no other process maintains the table at this time."""
        if self._directory is None:
            yield True
            return
        descriptor = _try(self._path(self._directory, table).with_suffix(_MAINTENANCE), fcntl.LOCK_EX)
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def remove(self, table: TableName) -> None:
        """Of a dropped table, by the holder of `exclusive`."""
        if self._directory is not None:
            path = self._path(self._directory, table)
            path.unlink(missing_ok=True)
            for suffix in (_QUEUE, _MAINTENANCE):
                path.with_suffix(suffix).unlink(missing_ok=True)

    @asynccontextmanager
    async def _held(self, table: TableName, kind: int) -> AsyncIterator[None]:
        if self._directory is None:
            yield
            return
        path = self._path(self._directory, table)
        # Each acquisition holds the queue lock first, in the same mode. A shared one releases it as soon as it has the
        # table; an exclusive one keeps it while it waits, so that no later shared acquisition delays it further.
        queue = await _acquire(path.with_suffix(_QUEUE), kind)
        try:
            lock = await _acquire(path, kind)
        except BaseException:
            os.close(queue)
            raise
        try:
            if kind == fcntl.LOCK_SH:
                queue = _closed(queue)
            yield
        finally:
            os.close(lock)
            _closed(queue)

    @staticmethod
    def _path(directory: Path, table: TableName) -> Path:
        return directory / f"{table}.lock"


def _closed(descriptor: int) -> int:
    if descriptor >= 0:
        os.close(descriptor)
    return -1


async def _acquire(path: Path, kind: int) -> int:
    deadline_s = asyncio.get_running_loop().time() + _WAIT_S
    poll_s = _FIRST_POLL_S
    while (descriptor := _try(path, kind)) is None:
        if asyncio.get_running_loop().time() > deadline_s:
            raise StoreUnavailable(f"the table is locked by another process ({path})")
        await asyncio.sleep(poll_s)
        poll_s = min(poll_s * 2, _LONGEST_POLL_S)
    return descriptor


def _try(path: Path, kind: int) -> int | None:
    """The descriptor that holds the lock; None if another process holds it, or has just removed the file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None
