"""The errors of a store. After StoreUnavailable alone, the same call may succeed later."""

from __future__ import annotations

__all__ = ["StoreCorrupt", "StoreError", "StoreUnavailable", "UnknownTable"]


class StoreError(Exception):
    """Every error of a store is one."""


class StoreUnavailable(StoreError):
    """The store cannot be reached, has no space, or is too busy. Nothing was changed, unless the connection was lost
    during the commit; a repeated `replace` is harmless in both cases.
    """


class StoreCorrupt(StoreError):
    """What is stored cannot be read. Only removing and indexing the collection again helps."""


class UnknownTable(StoreError):
    """The table was never created, or was dropped."""

    def __init__(self, table: str) -> None:
        super().__init__(f"the store has no table {table}")
