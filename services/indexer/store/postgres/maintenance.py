"""The vector index of a large table, and the removal of what was deleted from the files of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from services.indexer.store.interface import DELETED_KEPT_MS
from services.indexer.store.postgres.schema import INDEX, INDEXED_DIMENSIONS, SCHEMA, statement
from services.indexer.store.tables import TableName

if TYPE_CHECKING:
    import asyncpg

__all__ = ["optimize", "purge"]

_INDEXED_ROWS: Final = 5_000
"""Below this number of chunks, all vectors are compared: that takes some 15 ms at 1,024 dimensions."""
_BUILD_S: Final = 3_600.0
_MANY: Final = "SELECT count(*) >= $1 FROM (SELECT FROM {chunks} LIMIT $1) AS counted"
_VALID: Final = """
    SELECT indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE relname = $1 AND nspname = $2
"""
_FORGET: Final = "DELETE FROM {documents} WHERE deleted AND updated_ms < $1"


async def optimize(connection: asyncpg.Connection, table: TableName, dimensions: int, now_ms: int) -> bool:
    await connection.execute(statement(_FORGET, table), now_ms - DELETED_KEPT_MS)
    if dimensions > INDEXED_DIMENSIONS or not await connection.fetchval(
        statement(_MANY, table), _INDEXED_ROWS
    ):
        return False
    # Another process may be building it. The lock ends with the session, also when this process is killed.
    if not await connection.fetchval("SELECT pg_try_advisory_lock(hashtext($1))", table):
        return False
    try:
        return await _build_index(connection, table, dimensions)
    finally:
        await connection.execute("SELECT pg_advisory_unlock(hashtext($1))", table)


async def purge(connection: asyncpg.Connection, table: TableName) -> None:
    """Write the tables and their indexes again, without deleted rows.

    The write-ahead log and backups keep what they have until the server's own rules remove it.
    """
    async with _memory_for_indexes(connection):
        for name in ("{chunks}", "{documents}"):
            await connection.execute(statement(f"VACUUM (FULL, ANALYZE) {name}", table), timeout=_BUILD_S)


async def _build_index(connection: asyncpg.Connection, table: TableName, dimensions: int) -> bool:
    name = statement("{index}", table)
    valid = await connection.fetchval(_VALID, name, SCHEMA)
    if valid:
        return False
    if valid is not None:  # a process was killed while it built the index
        await connection.execute(f"DROP INDEX IF EXISTS {SCHEMA}.{name}")
    async with _memory_for_indexes(connection):
        await connection.execute(statement(INDEX, table, dimensions), timeout=_BUILD_S)
    return True


@asynccontextmanager
async def _memory_for_indexes(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """50,000 vectors of 1,024 dimensions take 200 MB; an index that does not fit is built ten times as slowly."""
    await connection.execute("SET maintenance_work_mem = '512MB'")
    yield
    await connection.execute("RESET maintenance_work_mem")  # a connection that failed is reset by the pool
