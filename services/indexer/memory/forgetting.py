"""Forgetting: afterwards no file of the store holds anything of the deleted documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.indexer.collections.tables import Target, delete_documents
from services.indexer.store.interface import Store

__all__ = ["Forgetting"]

_PAGE: Final = 500


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
        after = ""
        while True:
            page = await self._store.list_documents(target.table, prefix=prefix, after=after, limit=_PAGE)
            found += [(each.document.updated_ms, each.document.id) for each in page]
            if len(page) < _PAGE:
                return [id_ for _, id_ in sorted(found)]
            after = page[-1].document.id

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
