"""Forgetting: afterwards neither the store nor the cache of vectors holds anything of the deleted documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from penstock.contract.retrieval.collections import Generation
from services.indexer.collections.tables import Target
from services.indexer.embedding.embedded_text import embedded_text
from services.indexer.search.filters import of_documents
from services.indexer.store.errors import UnknownTable
from services.indexer.store.interface import Store

__all__ = ["Forgetting"]

_PAGE: Final = 500


class _VectorCache(Protocol):
    async def forget(self, texts: Iterable[str], generation: Generation) -> None: ...


class Forgetting:
    def __init__(self, store: Store, cache: _VectorCache, most: int) -> None:
        """`most`: documents that the memory of a user may have."""
        self._store = store
        self._cache = cache
        self._most = most

    async def forget_vectors(self, documents: Sequence[str], targets: Sequence[Target]) -> None:
        """Delete the cached vectors of the documents, before their rows: these say which texts there are, also to a
        process that repeats the request after a kill.
        """
        for target in targets:
            for start in range(0, len(documents), _PAGE):
                page = documents[start : start + _PAGE]
                try:
                    found = await self._store.all_chunks(target.table, of_documents(page))
                except UnknownTable:
                    break
                texts = [
                    embedded_text(each.document.title, each.chunk.heading, each.chunk.text)
                    for each in found or ()
                ]
                for each in targets:
                    await self._cache.forget(texts, each.generation)

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
        await self.forget_vectors(forgotten, targets)
        for target in targets:
            for start in range(0, len(forgotten), _PAGE):
                await self._store.replace(target.table, version, (), forgotten[start : start + _PAGE])
        await self.purge(targets)
        return len(forgotten)
