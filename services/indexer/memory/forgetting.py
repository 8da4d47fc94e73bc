"""Forgetting: afterwards no file of the store holds anything of the deleted documents."""

from __future__ import annotations

from collections.abc import Sequence

from services.indexer.collections.tables import Target, delete_documents
from services.indexer.store.interface import Store
from services.indexer.store.pages import document_pages

__all__ = ["Forgetting"]


class Forgetting:
    def __init__(self, store: Store, most: int) -> None:
        """`most`: documents that the memory of a user may have."""
        self._store = store
        self._most = most

    async def purge(self, targets: Sequence[Target]) -> None:
        """Remove the deleted rows from the files of the store."""
        for target in targets:
            await self._store.purge(target.table)

    async def all_documents(self, target: Target, prefix: str = "") -> list[str]:
        """Those whose ids begin with `prefix`, the oldest first."""
        found: list[tuple[int, str]] = []
        async for page in document_pages(self._store, target.table, prefix=prefix):
            found += [(each.document.updated_ms, each.document.id) for each in page]
        return [id_ for _, id_ in sorted(found)]

    async def enforce_limit(self, targets: Sequence[Target], version: int) -> int:
        """Forget the oldest documents beyond the limit; returns how many.

        A hundredth more than needed, because purging costs the same for one as for many.
        """
        first = targets[0]
        if (await self._store.statistics(first.table)).documents <= self._most:
            return 0
        ids = await self.all_documents(first)
        forgotten = ids[: len(ids) - self._most + self._most // 100]
        for target in targets:
            await delete_documents(self._store, target.table, forgotten, version)
        await self.purge(targets)
        return len(forgotten)
