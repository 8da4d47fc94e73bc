"""A change of the embedding model: the stored texts get vectors of the new model in a table beside the old one.

Requests that change documents meanwhile write into both tables. The copy never overwrites a later version, so that it
may run beside them, again after a kill, and in two processes at once. It is complete when a pass finds no difference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from services.indexer.collections.tables import Target
from services.indexer.embedding.embedded_text import embedded_text
from services.indexer.embedding.gateway import EmbeddingFailed
from services.indexer.indexing.documents import DocumentWriter, WriteContext
from services.indexer.store.interface import (
    Chunk,
    Document,
    DocumentChunks,
    EmbeddedChunk,
    ListedDocument,
    Store,
)
from services.indexer.store.pages import document_pages
from services.indexer.store.tags import of_documents

__all__ = ["Rebuilder"]

_PAGE: Final = 100
"""Documents that are read, embedded and stored together."""


class Rebuilder:
    def __init__(self, store: Store, writer: DocumentWriter) -> None:
        self._store = store
        self._writer = writer

    async def fill(self, old: Target, new: Target, context: WriteContext) -> None:
        """Return when `new` has every document of `old` in the same version.

        Raises StoreError, and EmbeddingFailed also for a text that the new model refuses: its document would be lost.
        """
        while await self._pass(old, new, context):
            pass

    async def _pass(self, old: Target, new: Target, context: WriteContext) -> bool:
        """Whether anything was copied."""
        copied = False
        async for page in document_pages(self._store, old.table, size=_PAGE):
            missing = await self._missing(page, new)
            if missing:
                await self._copy(missing, old, new, context)
                copied = True
        return copied

    async def _missing(self, page: Sequence[ListedDocument], new: Target) -> list[ListedDocument]:
        states = await self._store.documents(new.table, [each.document.id for each in page])
        return [
            each
            for each in page
            if (state := states.get(each.document.id)) is None
            or state.version < each.version
            or (state.version == each.version and state.digest != each.document.digest)
        ]

    async def _copy(
        self, missing: Sequence[ListedDocument], old: Target, new: Target, context: WriteContext
    ) -> None:
        chunks = await self._chunks(missing, old)
        texts = {
            chunk.id: embedded_text(each.document.title, chunk.heading, chunk.text)
            for each in missing
            for chunk in chunks[each.document.id]
        }
        known = await self._store.vectors(new.table, tuple(texts))
        vectors = await self._writer.embed(
            (text for id_, text in texts.items() if id_ not in known), new.generation, context
        )
        by_version: dict[int, list[DocumentChunks]] = defaultdict(list)
        for each in missing:
            embedded = []
            for chunk in chunks[each.document.id]:
                vector = known.get(chunk.id) or vectors.found.get(texts[chunk.id])
                if vector is None:
                    raise _lost(each.document, vectors.refused.get(texts[chunk.id], "it has no vector"))
                embedded.append(EmbeddedChunk(chunk, vector))
            by_version[each.version].append(DocumentChunks(each.document, tuple(embedded)))
        for version, documents in sorted(by_version.items()):
            await self._store.replace(new.table, version, documents)
            stored = (each.chunk.id for document in documents for each in document.chunks)
            context.counts.count_new([texts[id_] for id_ in stored if id_ not in known])
        context.on_progress()

    async def _chunks(self, documents: Sequence[ListedDocument], old: Target) -> dict[str, list[Chunk]]:
        """By document. One that was changed since it was listed is found different in the next pass."""
        found = await self._store.all_chunks(old.table, of_documents(each.document.id for each in documents))
        chunks: dict[str, list[Chunk]] = defaultdict(list)
        for each in found or ():
            chunks[each.document.id].append(each.chunk)
        return chunks


def _lost(document: Document, why: str) -> EmbeddingFailed:
    return EmbeddingFailed(
        "provider_refused",
        f"the collection keeps its model, because the new one has no vector for {document.id!r:.100}: {why}",
    )
