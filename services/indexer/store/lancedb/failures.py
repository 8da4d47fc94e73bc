"""Errors of LanceDB as errors of a store. LanceDB raises few types; which of them is meant is in the message."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from services.indexer.store.errors import StoreCorrupt, StoreError, StoreUnavailable, UnknownTable
from services.indexer.store.tables import TableName

__all__ = ["is_conflict", "is_index_created", "is_lance_error", "is_moved", "store_errors", "translated"]

_PANIC: Final = "RustPanic"
_CONFLICT: Final = re.compile(
    # "Divide by zero" is the guard of `replacement`: another version was stored in between.
    r"Divide by zero|commit conflict|concurrent (?:transaction|writer)|Too many concurrent|TooMuchWriteContention",
    re.IGNORECASE,
)
_INDEX_CREATED: Final = re.compile(r"Index name '.*' already exists")
_TABLE_MISSING: Final = re.compile(
    r"Table '.*' was not found|Dataset at path .* was not found|DatasetNotFound", re.DOTALL
)
_FILE_MISSING: Final = re.compile(r"not found|No such file", re.IGNORECASE)
_CORRUPT: Final = re.compile(
    r"corrupt|invalid magic|magic number|failed to decode|DecodeError|protobuf|file (?:size )?is too small|"
    r"unexpected end|failed to fill whole buffer|Invalid (?:file|footer|format|range)|out of range|panicked|checksum",
    re.IGNORECASE,
)


@contextmanager
def store_errors(table: TableName | None = None) -> Iterator[None]:
    """Raises an error of the store for each error of LanceDB."""
    try:
        yield
    except Exception as error:
        if not is_lance_error(error):
            raise
        raise translated(error, table) from error


def is_lance_error(error: Exception) -> bool:
    """Whether a call of LanceDB may have raised it. A panic has a type of its own, which cannot be imported."""
    return isinstance(error, OSError | RuntimeError | ValueError) or type(error).__name__ == _PANIC


def translated(error: Exception, table: TableName | None = None) -> StoreError:
    text = " ".join(str(error).split())[:500]
    if table is not None and _TABLE_MISSING.search(text):
        return UnknownTable(table)
    if isinstance(error, TimeoutError) or _CONFLICT.search(text):
        return StoreUnavailable(f"too many concurrent changes: {text}")
    if _CORRUPT.search(text) or _FILE_MISSING.search(text):
        return StoreCorrupt(f"the files of a table cannot be read: {text}")
    return StoreUnavailable(text)


def is_conflict(error: Exception) -> bool:
    """Whether the same change should be prepared again at once."""
    return _CONFLICT.search(str(error)) is not None


def is_index_created(error: Exception) -> bool:
    """Whether an index was created already, by another task or process."""
    return _INDEX_CREATED.search(str(error)) is not None


def is_moved(error: Exception) -> bool:
    """Whether files that were read may have been replaced by a maintenance: a second try reads the newer ones."""
    return _FILE_MISSING.search(str(error)) is not None
