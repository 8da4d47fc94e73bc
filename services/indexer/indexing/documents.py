"""The documents of one request into the tables of a collection.

The way of a group: the stored vectors of its chunks are read, the missing texts embedded, and its documents replaced in
one change. The next group is prepared and embedded meanwhile. What is stored is recognised by its digest, so that a
request that is begun again goes on where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from penstock.contract.retrieval.collections import Generation
from penstock.contract.retrieval.documents import IndexBody
from penstock.runtime.retrieval.vectors import has_direction
from services.indexer.collections.tables import Target, delete_documents
from services.indexer.embedding.batches import BatchEmbedder, Vectors
from services.indexer.embedding.gateway import Caller
from services.indexer.embedding.models import EmbeddingModels
from services.indexer.indexing.counts import Counts
from services.indexer.indexing.groups import Refused, ToPrepare, prepared_groups
from services.indexer.indexing.prepare import Prepared, Preparer
from services.indexer.store.interface import DocumentChunks, DocumentState, EmbeddedChunk, Store
from services.indexer.store.tables import TableName

__all__ = ["LATER", "DocumentWriter", "WriteContext"]

LATER: Final = "a later request has changed it already"


class WriteContext(Struct):
    """One request while its documents are written."""

    version: int
    caller: Caller
    counts: Counts
    on_progress: Callable[[], None]


class _Vectorised(Struct, frozen=True):
    """A group with the vectors for one table."""

    target: Target
    documents: list[DocumentChunks]
    new: Mapping[str, str]
    """The embedded text of each chunk that the table did not have, by the id of the chunk."""


class DocumentWriter:
    def __init__(
        self,
        store: Store,
        preparer: Preparer,
        embedder: BatchEmbedder,
        models: EmbeddingModels,
        on_refused: Callable[[str], None],
    ) -> None:
        """`on_refused` gets the kind of each refusal, for metrics."""
        self._store = store
        self._preparer = preparer
        self._embedder = embedder
        self._models = models
        self._on_refused = on_refused

    async def write(self, body: IndexBody, targets: Sequence[Target], context: WriteContext) -> None:
        """Raises StoreError, EmbeddingFailed and ExtractionUnavailable; what was stored by then stays."""
        digests = {document.id: self._preparer.digest(document) for document in body.documents}
        states = {target.table: await self._states(target.table, body) for target in targets}
        await self._delete(body.delete, targets, states, context)
        for target in targets:
            confirmed = await self._confirm(target.table, states[target.table], digests, context.version)
            if target is targets[0]:
                context.counts.confirmed |= confirmed
        waiting = self._to_prepare(body, digests, targets, states, context)
        context.on_progress()

        def refuse(refused: Refused) -> None:
            self._refuse(refused, states[targets[0].table], context)

        groups = prepared_groups(self._preparer, waiting, refuse)
        vectorised = self._vectorised(groups, targets, states, context, refuse)
        await self._store_in_order(vectorised, targets[0], states, context)

    async def delete_outdated(self, ids: Sequence[str], targets: Sequence[Target], version: int) -> None:
        """Delete the documents, unless a request after `version` has written them."""
        for target in targets:
            await delete_documents(self._store, target.table, ids, version)

    async def changed_in(self, target: Target, body: IndexBody) -> list[str]:
        """The stored documents that the request deletes or changes."""
        stored = await self._states(target.table, body)
        changed = [
            each.id
            for each in body.documents
            if each.id in stored and stored[each.id].digest != self._preparer.digest(each)
        ]
        return [*(id_ for id_ in body.delete if id_ in stored), *changed]

    async def _states(self, table: TableName, body: IndexBody) -> dict[str, DocumentState]:
        return await self._store.documents(table, [*(each.id for each in body.documents), *body.delete])

    async def _delete(
        self,
        ids: Sequence[str],
        targets: Sequence[Target],
        states: Mapping[TableName, Mapping[str, DocumentState]],
        context: WriteContext,
    ) -> None:
        """Also ids that are not stored: an earlier request that is still running must not store them afterwards."""
        for target in targets:
            outdated = await delete_documents(self._store, target.table, ids, context.version)
            if target is not targets[0]:
                continue
            later = await self._store.documents(target.table, tuple(outdated)) if outdated else ()
            context.counts.not_deleted |= dict.fromkeys(later, LATER)
            gone = [state for id_ in ids if (state := states[target.table].get(id_)) and id_ not in outdated]
            context.counts.deleted += len(gone)
            context.counts.chunks_deleted += sum(len(state.chunks) for state in gone)

    async def _confirm(
        self,
        table: TableName,
        states: dict[str, DocumentState],
        digests: Mapping[str, str],
        version: int,
    ) -> set[str]:
        """Give unchanged documents the version of this request, and return them: an earlier request that is still
        running must not overwrite them afterwards. `states` is read again for those that were changed meanwhile.
        """
        confirmed: set[str] = set()
        while older := [
            id_
            for id_, state in states.items()
            if _is_stored(state, digests.get(id_, "")) and state.version < version
        ]:
            changed = await self._store.confirm(table, version, {id_: digests[id_] for id_ in older})
            found = await self._store.documents(table, tuple(changed)) if changed else {}
            for id_ in older:
                if id_ not in changed:
                    confirmed.add(id_)
                    states[id_] = replace(states[id_], version=version)
                elif id_ in found:
                    states[id_] = found[id_]
                else:
                    del states[id_]
        return confirmed

    def _to_prepare(
        self,
        body: IndexBody,
        digests: Mapping[str, str],
        targets: Sequence[Target],
        states: Mapping[TableName, Mapping[str, DocumentState]],
        context: WriteContext,
    ) -> list[ToPrepare]:
        """The documents that some table does not have as they are sent."""
        waiting = []
        first = states[targets[0].table]
        for document in body.documents:
            state = first.get(document.id)
            digest = digests[document.id]
            if _is_stored(state, digest):
                self._count_stored(document.id, state, context)
            elif state is not None and state.version > context.version:
                self._refuse(Refused(document.id, "outdated", LATER), first, context)
                continue
            if not all(_is_stored(states[target.table].get(document.id), digest) for target in targets):
                waiting.append(ToPrepare(document, digest))
        return waiting

    def _count_stored(self, id_: str, state: DocumentState | None, context: WriteContext) -> None:
        """A document with the version of this request was stored by it before it was begun again; or confirmed, which
        is not known any more if its process was killed.
        """
        if state is None:
            return
        if state.version == context.version and id_ not in context.counts.confirmed:
            context.counts.indexed += 1
        else:
            context.counts.unchanged += 1
        context.counts.chunks += len(state.chunks)

    def _refuse(self, refused: Refused, stored: Mapping[str, DocumentState], context: WriteContext) -> None:
        """An older version of the document stays."""
        self._on_refused(refused.kind)
        context.counts.refused[refused.id] = refused.reason
        if (state := stored.get(refused.id)) is not None:
            context.counts.chunks += len(state.chunks)
        context.on_progress()

    async def _vectorised(
        self,
        groups: AsyncGenerator[list[Prepared], None],
        targets: Sequence[Target],
        states: Mapping[TableName, Mapping[str, DocumentState]],
        context: WriteContext,
        refuse: Callable[[Refused], None],
    ) -> AsyncGenerator[list[_Vectorised], None]:
        """The documents of each group that differ from each table, with vectors."""
        async with aclosing(groups):
            async for group in groups:
                refused: dict[str, Refused] = {}
                found = []
                for target in targets:
                    needed = [each for each in group if not _has(states[target.table], each)]
                    found.append(await self._with_vectors(needed, target, context, refused))
                for why in refused.values():
                    refuse(why)
                yield [
                    replace(
                        part, documents=[each for each in part.documents if each.document.id not in refused]
                    )
                    for part in found
                ]

    async def _with_vectors(
        self, group: Sequence[Prepared], target: Target, context: WriteContext, refused: dict[str, Refused]
    ) -> _Vectorised:
        ids = dict.fromkeys(each.chunk.id for document in group for each in document.chunks)
        known = await self._store.vectors(target.table, tuple(ids))
        missing = {
            each.chunk.id: each.embedded
            for document in group
            for each in document.chunks
            if each.chunk.id not in known
        }
        by_text = await self.embed(missing.values(), target.generation, context)
        complete = []
        for document in group:
            chunks = []
            for each in document.chunks:
                vector = known.get(each.chunk.id) or by_text.found.get(each.embedded)
                if vector is None:
                    reason = by_text.refused.get(each.embedded, "the model gave no vector for it")
                    refused[document.document.id] = Refused(document.document.id, "embedding", reason)
                    break
                chunks.append(EmbeddedChunk(each.chunk, vector))
            else:
                complete.append(DocumentChunks(document.document, tuple(chunks)))
        return _Vectorised(target, complete, missing)

    async def embed(self, texts: Iterable[str], generation: Generation, context: WriteContext) -> Vectors:
        """Raises EmbeddingFailed, also where no model of the catalogue makes such vectors."""
        route = self._models.route(generation)
        vectors = await self._embedder.embed(texts, route, context.caller, context.counts.costs)
        for text, vector in tuple(vectors.found.items()):
            if not has_direction(vector):
                del vectors.found[text]
                vectors.refused[text] = (
                    "the embedding model gives it no direction: its vector is zero or unusable"
                )
        return vectors

    async def _store_in_order(
        self,
        groups: AsyncGenerator[list[_Vectorised], None],
        first: Target,
        states: Mapping[TableName, Mapping[str, DocumentState]],
        context: WriteContext,
    ) -> None:
        """Each group while the next one is made."""
        storing: asyncio.Task[None] | None = None
        try:
            async with aclosing(groups):
                async for group in groups:
                    if storing is not None:
                        await storing
                    storing = asyncio.ensure_future(self._store_group(group, first, states, context))
            if storing is not None:
                await storing
        finally:
            if storing is not None and not storing.done():
                storing.cancel()
                await asyncio.gather(storing, return_exceptions=True)

    async def _store_group(
        self,
        group: Sequence[_Vectorised],
        first: Target,
        states: Mapping[TableName, Mapping[str, DocumentState]],
        context: WriteContext,
    ) -> None:
        for part in group:
            late: frozenset[str] = frozenset()
            if part.documents:
                late = await self._store.replace(part.target.table, context.version, part.documents)
            chunks = (each.chunk.id for document in part.documents for each in document.chunks)
            context.counts.count_new([part.new[id_] for id_ in chunks if id_ in part.new])
            if part.target is first:
                # Two processes may index the same corpus at once: then the later one has stored the same.
                later = await self._store.documents(first.table, tuple(late)) if late else {}
                for each in part.documents:
                    if each.document.id in late:
                        self._count_late(each, later, context)
                    else:
                        self._count_written(each, states[first.table].get(each.document.id), context)
        context.on_progress()

    def _count_late(
        self, written: DocumentChunks, later: Mapping[str, DocumentState], context: WriteContext
    ) -> None:
        document = written.document
        state = later.get(document.id)
        if _is_stored(state, document.digest):
            self._count_stored(document.id, state, context)
        else:
            self._refuse(Refused(document.id, "outdated", LATER), later, context)

    def _count_written(
        self, written: DocumentChunks, state: DocumentState | None, context: WriteContext
    ) -> None:
        counts = context.counts
        counts.indexed += 1
        counts.chunks += len(written.chunks)
        if state is not None:
            kept = {each.chunk.id for each in written.chunks}
            counts.chunks_deleted += sum(chunk not in kept for chunk in state.chunks)


def _is_stored(state: DocumentState | None, digest: str) -> bool:
    return state is not None and state.digest == digest


def _has(states: Mapping[str, DocumentState], prepared: Prepared) -> bool:
    return _is_stored(states.get(prepared.document.id), prepared.document.digest)
