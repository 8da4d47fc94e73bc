"""Connections to a PostgreSQL server: a pool, the binary form of vectors, and the schema."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from services.indexer.store.errors import StoreUnavailable, UnknownTable
from services.indexer.store.postgres.failures import driver_errors, is_repeatable, store_errors, translated
from services.indexer.store.postgres.schema import MIGRATIONS
from services.indexer.store.tables import TableName

if TYPE_CHECKING:
    import asyncpg

__all__ = ["Database"]

_POOL: Final = 8
_CONNECT_S, _COMMAND_S = 10.0, 60.0
_SETTINGS: Final = {
    "application_name": "penstock-indexer",
    "hnsw.ef_search": "200",  # recall@10 over 50,000 clustered vectors of 1,024 dimensions is 0.99 with it
    "hnsw.iterative_scan": "strict_order",  # with a filter, search on until there are enough hits
    "hnsw.max_scan_tuples": "200000",
    "plan_cache_mode": "force_custom_plan",  # a filter may leave nearly everything or nearly nothing
}
_MIGRATION_LOCK: Final = 7_365_744_241
"""Of pg_advisory_lock: two processes that start at once do not migrate at once."""
_TRIES: Final = 3

_Result = TypeVar("_Result")


class Database:
    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: asyncpg.Pool | None = None
        self._dimensions: dict[TableName, int] = {}

    async def open(self) -> None:
        """Connect, and bring the schema up to date."""
        import asyncpg

        with store_errors():
            connection = await asyncpg.connect(self._url, timeout=_CONNECT_S, command_timeout=_COMMAND_S)
            try:
                await _migrate(connection)
            finally:
                await connection.close()
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=0,  # a pool that keeps a minimum logs each failure to connect
                max_size=_POOL,
                timeout=_CONNECT_S,
                command_timeout=_COMMAND_S,
                server_settings=_SETTINGS,
                init=_prepare,
            )

    async def close(self) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            try:
                await asyncio.wait_for(pool.close(), _CONNECT_S)
            except TimeoutError:
                pool.terminate()

    async def run(
        self, table: TableName | None, task: Callable[[asyncpg.Connection], Awaitable[_Result]]
    ) -> _Result:
        """The result of the task on a connection, tried again if that was lost or the transaction was rolled back.

        So a task must be harmless when it is done twice. Raises StoreUnavailable, StoreCorrupt and UnknownTable.
        """
        for left in reversed(range(_TRIES)):
            if self._pool is None:
                raise StoreUnavailable("the store is closed")
            try:
                async with self._pool.acquire(timeout=_CONNECT_S) as connection:
                    return await task(connection)
            except driver_errors() as error:
                if table is not None:
                    self._dimensions.pop(table, None)
                if not left or not is_repeatable(error):
                    raise translated(error, table) from error
        raise AssertionError("unreachable")

    async def fetch(self, table: TableName | None, sql: str, *values: object) -> list[Any]:
        """The rows of one query. Raises as `run`."""

        async def task(connection: asyncpg.Connection) -> list[Any]:
            rows: list[Any] = await connection.fetch(sql, *values)
            return rows

        return await self.run(table, task)

    async def dimensions(self, table: TableName) -> int:
        """Raises UnknownTable, StoreUnavailable and StoreCorrupt."""
        if (known := self._dimensions.get(table)) is not None:
            return known
        sql = "SELECT dimensions FROM penstock_index.tables WHERE name = $1"
        rows = await self.fetch(table, sql, table)
        if not rows:
            raise UnknownTable(table)
        self._dimensions[table] = int(rows[0]["dimensions"])
        return self._dimensions[table]

    def forget(self, table: TableName) -> None:
        self._dimensions.pop(table, None)


async def _migrate(connection: asyncpg.Connection) -> None:
    if await connection.fetchval("SHOW server_encoding") != "UTF8":
        raise StoreUnavailable("the database of the indexer must have the encoding UTF8")
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
        if not await connection.fetchval("SELECT 1 FROM pg_extension WHERE extname = 'vector'"):
            await connection.execute("CREATE EXTENSION vector")
        await connection.execute("CREATE SCHEMA IF NOT EXISTS penstock_index")
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS penstock_index.migrations (number integer PRIMARY KEY)"
        )
        done = await connection.fetchval("SELECT count(*) FROM penstock_index.migrations")
        for number, sql in enumerate(MIGRATIONS[done:], done):
            await connection.execute(sql)
            await connection.execute("INSERT INTO penstock_index.migrations VALUES ($1)", number)


async def _prepare(connection: asyncpg.Connection) -> None:
    schema = await connection.fetchval(
        "SELECT nspname FROM pg_type JOIN pg_namespace n ON n.oid = typnamespace WHERE typname = 'vector'"
    )
    await connection.set_type_codec(
        "vector", schema=schema, format="binary", encoder=_encode_vector, decoder=_decode_vector
    )


def _encode_vector(vector: bytes) -> bytes:
    """Pgvector sends the number of dimensions, two unused bytes, and big-endian numbers."""
    numbers = array("f", vector)
    numbers.byteswap()
    return len(numbers).to_bytes(2, "big") + b"\0\0" + numbers.tobytes()


def _decode_vector(data: bytes) -> bytes:
    numbers = array("f", data[4:])
    numbers.byteswap()
    return numbers.tobytes()
