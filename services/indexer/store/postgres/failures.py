"""Errors of PostgreSQL and of its driver as errors of a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from services.indexer.store.errors import StoreCorrupt, StoreError, StoreUnavailable, UnknownTable
from services.indexer.store.tables import TableName

__all__ = ["driver_errors", "is_repeatable", "store_errors", "translated"]

_CORRUPT: Final = ("XX001", "XX002")
_UNDEFINED_TABLE: Final = "42P01"
_REPEATABLE: Final = ("08", "40", "57P01", "57P02", "57P03")
"""SQLSTATE classes: connection exceptions, rolled back transactions; and the shutdown of the server."""


@contextmanager
def store_errors(table: TableName | None = None) -> Iterator[None]:
    """Raises an error of the store for each error of the driver."""
    try:
        yield
    except driver_errors() as error:
        raise translated(error, table) from error


def driver_errors() -> tuple[type[Exception], ...]:
    """What a call of the driver may raise. InternalClientError is the loss of a connection during a call."""
    import asyncpg

    return (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def translated(error: Exception, table: TableName | None = None) -> StoreError:
    state = _state(error)
    if table is not None and state == _UNDEFINED_TABLE:
        return UnknownTable(table)
    text = f"PostgreSQL: {str(error) or type(error).__name__}"
    return StoreCorrupt(text) if state in _CORRUPT else StoreUnavailable(text)


def is_repeatable(error: Exception) -> bool:
    """Whether the same call on a new connection may succeed at once."""
    import asyncpg

    if isinstance(error, asyncpg.PostgresError):
        return _state(error).startswith(_REPEATABLE)
    return isinstance(error, ConnectionError | asyncpg.InterfaceError | asyncpg.InternalClientError)


def _state(error: Exception) -> str:
    return str(getattr(error, "sqlstate", None) or "")
