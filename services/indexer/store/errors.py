"""The errors of a store. After StoreUnavailable alone, the same call may succeed later."""

from __future__ import annotations

__all__ = ["StoreCorrupt", "StoreError", "StoreUnavailable", "UnknownTable"]


class StoreError(Exception):
    """Every error of a store is one. Its text is for the log: it may name files and servers."""

    for_clients = "the store of the indexer cannot be used; its log says why"
    """What a client is told."""


class StoreUnavailable(StoreError):
    """The store cannot be reached, has no space, or is too busy. Nothing was changed, unless the connection was lost
    during the commit; a repeated `replace` is harmless in both cases.
    """

    for_clients = "the store of the indexer cannot be reached, has no space, or is too busy; its log says why"


class StoreCorrupt(StoreError):
    """What is stored cannot be read. Only removing and indexing the collection again helps."""

    for_clients = "what is stored of the collection cannot be read: drop the collection, and index it again"


class UnknownTable(StoreError):
    """The table was never created, or was dropped."""

    for_clients = "the collection is being replaced or dropped"

    def __init__(self, table: str) -> None:
        super().__init__(f"the store has no table {table}")
