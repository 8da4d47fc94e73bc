"""The documents of a table, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator

from services.indexer.store.interface import ListedDocument, Store
from services.indexer.store.tables import TableName

__all__ = ["document_pages"]


async def document_pages(
    store: Store, table: TableName, *, prefix: str = "", size: int = 1_000
) -> AsyncIterator[list[ListedDocument]]:
    """Every document whose id begins with `prefix`, by id, `size` at a time; the last page may be empty."""
    after = ""
    while True:
        page = await store.list_documents(table, prefix=prefix, after=after, limit=size)
        yield page
        if len(page) < size:
            return
        after = page[-1].document.id
