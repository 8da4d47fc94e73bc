"""The database: a directory or an object store, its open tables, and their indexes for searches of words and keys."""

from __future__ import annotations

import asyncio
import shutil
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from penstock.bus.clock import SYSTEM, Clock
from penstock.runtime.processes.deferred_packages import defer_packages
from services.indexer.store.errors import StoreCorrupt, StoreUnavailable, UnknownTable
from services.indexer.store.lancedb.failures import (
    is_conflict,
    is_index_created,
    is_lance_error,
    is_moved,
    store_errors,
    translated,
)
from services.indexer.store.lancedb.locks import TableLocks
from services.indexer.store.lancedb.schema import CREATED_MS, HEAD, dimensions_of, schema_of
from services.indexer.store.tables import TableName, is_table_name

if TYPE_CHECKING:
    from lancedb import AsyncConnection, AsyncTable

__all__ = ["REST_CLIENT", "Database", "create_search_indexes"]

_INDEX_CACHE_BYTES: Final = 96 * 1024 * 1024
"""Of all tables together: 50,000 chunks of 1,024 dimensions take 15 MB of it."""
_METADATA_CACHE_BYTES: Final = 32 * 1024 * 1024
_OPEN_TABLES: Final = 256
_REMOTE_CONSISTENCY_S: Final = 2.0
"""Age in seconds of what is read from an object store. In a directory each read looks for a newer version."""
_DROPPED: Final = ".dropped"
"""Suffix of the directory of a table that is being removed: one that a killed process left is removed later."""
_WORDS: Final = "terms"
_SCALAR: Final = ("id", "key", "chunk")
_INDEXING_TRIES: Final = 10
"""Each conflict means that another task or process created one of the five indexes."""

REST_CLIENT: Final = "lance_namespace_urllib3_client"
"""A generated client for servers of LanceDB's catalogue: its `__init__` takes half of the import's 1.9 s of CPU."""
_READS: Final = 2
"""In an object store, a maintenance may remove the files that the first one reads."""

_Result = TypeVar("_Result")


class Database:
    def __init__(self, url: str, clock: Clock = SYSTEM) -> None:
        """`url`: a directory, or an address as s3://bucket/path; its credentials are read from the environment."""
        self.url = url
        self._clock = clock
        self.directory = _directory_of(url)
        self.locks = TableLocks(self.directory)
        self._connection: AsyncConnection | None = None
        self._tables: OrderedDict[TableName, AsyncTable] = OrderedDict()

    async def open(self) -> None:
        """Connect, and create the directory."""
        defer_packages(REST_CLIENT)
        import lancedb

        if self.directory is not None:
            with store_errors():
                self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        consistency = timedelta(seconds=0 if self.directory else _REMOTE_CONSISTENCY_S)
        with store_errors():
            self._connection = await lancedb.connect_async(
                self.url if self.directory is None else str(self.directory),
                read_consistency_interval=consistency,
                session=lancedb.Session(
                    index_cache_size_bytes=_INDEX_CACHE_BYTES,
                    metadata_cache_size_bytes=_METADATA_CACHE_BYTES,
                ),
            )

    def close(self) -> None:
        for table in self._tables.values():
            table.close()
        self._tables.clear()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def create(self, name: TableName, dimensions: int) -> None:
        connection = self._connected()
        try:
            found = await self.dimensions(name)
        except UnknownTable:
            # Alone: of two that create a table at once, LanceDB lets the later one overwrite it.
            async with self.locks.exclusive(name):
                with store_errors(name):
                    schema = schema_of(dimensions, self._clock.unix_ms())
                    with suppress(ValueError):  # another task or process has created it
                        await connection.create_table(name, schema=schema)
            found = await self.dimensions(name)
        if found != dimensions:
            raise ValueError(f"table {name} exists with other dimensions than {dimensions}")

    async def drop(self, name: TableName, unless_later: int | None) -> bool:
        """False: it has a document of a version after `unless_later`."""
        connection = self._connected()
        self.forget(name)
        async with self.locks.exclusive(name):
            if unless_later is not None and await self._has_later(name, unless_later):
                return False
            with store_errors(name):
                if self.directory is None:
                    await connection.drop_table(name, ignore_missing=True)
                else:
                    await asyncio.to_thread(_remove_directory, self.directory / f"{name}.lance")
            self.locks.remove(name)
        return True

    async def names(self) -> dict[TableName, int]:
        """Every table, and when it was created, in ms since 1970; 0 for one whose removal was interrupted, and for one
        that cannot be read.
        """
        with store_errors():
            listed = await self._listed()
        found = dict.fromkeys(self._interrupted_removals(), 0)
        for name in map(TableName, filter(is_table_name, listed)):
            try:
                metadata = await self.read(name, _metadata)
            except UnknownTable:  # it was dropped just now
                continue
            except StoreCorrupt:
                found[name] = 0
                continue
            found[name] = int(metadata[CREATED_MS])
        return found

    async def dimensions(self, name: TableName) -> int:
        async def query(table: AsyncTable) -> int:
            return dimensions_of(await table.schema())

        return await self.read(name, query)

    async def table(self, name: TableName) -> AsyncTable:
        if (opened := self._tables.get(name)) is not None:
            self._tables.move_to_end(name)
            return opened
        try:
            opened = await self._open(name)
        except StoreCorrupt:  # a drop or a maintenance may have removed files of it while it was opened
            opened = await self._open(name)
        self._tables[name] = opened
        if len(self._tables) > _OPEN_TABLES:
            self._tables.popitem(last=False)
        return opened

    async def _open(self, name: TableName) -> AsyncTable:
        with store_errors(name):
            opened = await self._connected().open_table(name)
            if not await _has_search_indexes(opened):
                async with self.locks.shared(name):
                    await _create_missing_indexes(opened)
        return opened

    async def read(self, name: TableName, query: Callable[[AsyncTable], Awaitable[_Result]]) -> _Result:
        """The result of a query; a maintenance may replace the files that it reads, so that it is tried twice."""
        try:
            return await query(await self.table(name))
        except Exception as error:
            if not is_lance_error(error):
                raise
            self.forget(name)
            if not is_moved(error):
                raise translated(error, name) from error
        with store_errors(name):
            return await query(await self.table(name))

    async def change(self, name: TableName, apply: Callable[[AsyncTable], Awaitable[_Result]]) -> _Result:
        """The result of a change of the newest version, while no removal of files runs."""
        opened = await self.table(name)
        async with self.locks.shared(name):
            try:
                await opened.checkout_latest()
                return await apply(opened)
            except Exception as error:
                if not is_lance_error(error):
                    raise
                self.forget(name)
                if is_moved(
                    error
                ):  # perhaps the whole table was dropped while this change waited for its lock
                    await self.table(name)
                raise translated(error, name) from error

    def forget(self, name: TableName) -> None:
        """Without closing it, because queries of other tasks may be using it."""
        self._tables.pop(name, None)

    async def _listed(self) -> list[str]:
        connection = self._connected()
        names: list[str] = []
        token: str | None = None
        while True:
            page = await connection.list_tables(page_token=token, limit=1000)
            names += page.tables
            token = page.page_token
            if not token:
                return names

    async def _has_later(self, name: TableName, version: int) -> bool:
        """Without `table`, which may want the lock that the caller holds. False for a table that cannot be read."""
        for _ in range(_READS):
            try:
                with store_errors(name):
                    opened = await self._connected().open_table(name)
                    return bool(await opened.count_rows(f"ordinal = {HEAD} AND version > {version}"))
            except (UnknownTable, StoreCorrupt):
                continue
        return False

    def _interrupted_removals(self) -> list[TableName]:
        if self.directory is None:
            return []
        stems = (path.stem for path in self.directory.glob(f"*{_DROPPED}"))
        return [TableName(stem) for stem in stems if is_table_name(stem)]

    def _connected(self) -> AsyncConnection:
        if self._connection is None:
            raise StoreUnavailable("the store is closed")
        if self.directory is not None and not self.directory.is_dir():
            raise StoreUnavailable(f"the directory {self.directory} is missing")
        return self._connection


def _directory_of(url: str) -> Path | None:
    """None for an object store."""
    scheme, separator, path = url.partition("://")
    if not separator:
        return Path(url).absolute()
    return Path(path) if scheme == "file" else None


def _remove_directory(path: Path) -> None:
    """At once for those that read: in a directory that loses its files one by one, they would find older versions."""
    removed = path.with_suffix(_DROPPED)
    with suppress(FileNotFoundError):  # the usual case: no earlier removal was interrupted
        shutil.rmtree(removed)
    with suppress(FileNotFoundError):
        path.rename(removed)
        shutil.rmtree(removed)


async def create_search_indexes(table: AsyncTable, *, replace: bool = False) -> None:
    """Those that searches by words need, and those by which rows are found. On an empty table this takes no time."""
    from lancedb.index import FTS, BTree, LabelList

    words = FTS(
        base_tokenizer="whitespace",  # the words are normalised already
        stem=False,
        remove_stop_words=False,
        ascii_folding=False,
        lower_case=False,
        max_token_length=None,
    )
    configs: dict[str, Any] = {_WORDS: words, "tags": LabelList(), **{name: BTree() for name in _SCALAR}}
    existing = {column for index in await table.list_indices() for column in index.columns}
    for column, config in configs.items():
        if replace or column not in existing:
            await table.create_index(column, config=config, replace=replace)


async def _metadata(table: AsyncTable) -> dict[bytes, bytes]:
    return dict((await table.schema()).metadata)


async def _create_missing_indexes(table: AsyncTable) -> None:
    """Tasks and processes that open a new table at once all do this; a later one finds what an earlier one created."""
    for tried in range(1, _INDEXING_TRIES + 1):
        try:
            await create_search_indexes(table)
        except Exception as error:
            created_meanwhile = is_lance_error(error) and (is_conflict(error) or is_index_created(error))
            if not created_meanwhile or tried == _INDEXING_TRIES:
                raise
            await table.checkout_latest()
        else:
            return


async def _has_search_indexes(table: AsyncTable) -> bool:
    existing = {column for index in await table.list_indices() for column in index.columns}
    return existing.issuperset((_WORDS, "tags", *_SCALAR))
