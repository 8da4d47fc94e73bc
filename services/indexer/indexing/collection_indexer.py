"""One index request on its collection: drop, creation, documents, change of model, and the limits of a memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.retrieval.collections import CollectionRecord
from penstock.contract.retrieval.documents import IndexBody, IndexReport, conversation_of, turn_id
from services.indexer.collections.names import is_memory
from services.indexer.collections.records import RecordsUnavailable
from services.indexer.collections.tables import CollectionTables, Target, targets_of
from services.indexer.collections.transitions import VectorKind, has_vectors_of, void_before
from services.indexer.embedding.gateway import Caller, EmbeddingFailed
from services.indexer.embedding.models import EmbeddingModels, UnusableModel
from services.indexer.indexing.counts import Counts
from services.indexer.indexing.documents import LATER, DocumentWriter, WriteContext
from services.indexer.indexing.rebuild import Rebuilder
from services.indexer.memory.forgetting import Forgetting
from services.indexer.store.errors import StoreError, UnknownTable
from services.indexer.store.tables import TableName

__all__ = ["CollectionIndexer", "IndexTask"]

_log: Final = rate_limited_logger(__name__)
_MOST_RESTARTS: Final = 5
"""Of one request, when its collection is dropped or switched while it is written."""
_ABANDON_S: Final = 10.0
"""The longest time in which a change of model is undone."""
_VOID: Final = "a later request dropped the collection, or the conversation"


class IndexTask(Struct, kw_only=True):
    """One request, while it is worked on. Its counts outlive a repetition after an error of the store."""

    collection: str
    version: int
    body: IndexBody
    caller: Caller
    counts: Counts
    on_progress: Callable[[], None]
    on_written: Callable[[], None] = lambda: None
    """Called when other requests may change the collection, while this one may still fill a table for another model."""
    repeated: bool = False
    """Another process may have begun it, and died."""


class CollectionIndexer:
    """Several requests may change one collection at the same time: the scheduler begins one after the other in each
    process, but one that fills a table for another model may be repeated beside the next, and other processes have
    requests of their own. The store keeps the latest version of each document.
    """

    def __init__(
        self,
        tables: CollectionTables,
        models: EmbeddingModels,
        writer: DocumentWriter,
        rebuilder: Rebuilder,
        forgetting: Forgetting,
        on_change: Callable[[TableName], None],
    ) -> None:
        self._tables = tables
        self._models = models
        self._writer = writer
        self._rebuilder = rebuilder
        self._forgetting = forgetting
        self._on_change = on_change

    async def index(self, task: IndexTask) -> IndexReport:
        """Raises UnusableModel, EmbeddingFailed, StoreError, RecordsUnavailable and ExtractionUnavailable."""
        if task.body.drop:
            await self._drop(task)
        if task.body.drop_conversation:
            await self._drop_conversation(task)
        record = await self._open(task)
        if record is not None:
            record = await self._write_all_targets(task, record)
        task.on_written()
        if record is None:
            return task.counts.report(task.collection, None)
        record = await self._with_wanted_model(task, record)
        for target in targets_of(record):
            self._on_change(target.table)
        return task.counts.report(task.collection, record.current)

    async def abandon_model_change(self, task: IndexTask) -> None:
        """The request was cancelled, is too late or a dead letter: a table that it was filling is dropped, unless a
        later request fills it too, or it cannot be dropped now.
        """
        try:
            async with asyncio.timeout(_ABANDON_S):
                await self._abandon_model_change(task)
        except (StoreError, RecordsUnavailable, TimeoutError, UnusableModel) as error:
            _log.warning("a table that was being filled stays until the next change of model: %r", error)

    async def _abandon_model_change(self, task: IndexTask) -> None:
        record = await self._tables.read(task.caller.account, task.collection)
        if record is None or record.building is None or not self._names_model(task):
            return
        if record.model_named_by > task.version:
            return
        if has_vectors_of(record.building, self._kind(task, record)):
            await self._tables.abandon_model_change(record.account, record.name, record.building.number)

    async def _drop(self, task: IndexTask) -> None:
        account, name = task.caller.account, task.collection
        dropped = await self._tables.drop(account, name, task.version)
        task.counts.count_dropped(dropped.counts)
        task.counts.not_deleted |= dict.fromkeys(dropped.later, LATER)
        if is_memory(name):
            await self._forgetting.purge(targets_of(await self._tables.read(account, name)))

    async def _drop_conversation(self, task: IndexTask) -> None:
        """First no turn that waits can be stored any more, then the stored ones are deleted with what the request
        names: what another process stores between the two is among them, or is deleted by that process.
        """
        conversation = task.body.drop_conversation
        record = await self._tables.forget(task.caller.account, task.collection, conversation, task.version)
        targets = targets_of(record)
        found = await self._ids(targets[0], turn_id(conversation, "")) if targets else []
        written = {document.id for document in task.body.documents}
        turns = [each for each in found if conversation_of(each) == conversation and each not in written]
        task.body = replace(task.body, delete=tuple(dict.fromkeys((*task.body.delete, *turns))))

    async def _ids(self, target: Target, prefix: str = "") -> list[str]:
        try:
            return await self._forgetting.all_documents(target, prefix)
        except UnknownTable:
            return []

    async def _open(self, task: IndexTask) -> CollectionRecord | None:
        """The collection with the tables to write to; None: there is none, and nothing to write."""
        account, name = task.caller.account, task.collection
        record = await self._tables.read(account, name)
        void = _void(task, record)
        if record is not None and void and task.repeated:  # the process that was killed may have stored them
            await self._remove(task, record, void)
        if record is not None and record.dropped_by > task.version:
            task.counts.begin_again()
            task.counts.refused = dict.fromkeys(void, _VOID)
            return None
        exists = record is not None and record.current is not None
        if not exists and not task.body.documents:
            return None
        kind = self._kind(task, record)
        record = await self._tables.ensure(account, name, kind)
        if not self._names_model(task) or record.model_named_by > task.version:
            return record
        return await self._tables.begin(account, name, kind, task.version)

    async def _write_all_targets(self, task: IndexTask, record: CollectionRecord) -> CollectionRecord | None:
        """Write into every table that the record names, and look again: one that appeared meanwhile, or became the one
        that search reads, gets the documents too. None: the collection was dropped.
        """
        account, name = task.caller.account, task.collection
        written: set[int] = set()
        restarts = 0
        current: CollectionRecord | None = record
        while current is not None and current.current is not None:
            missing = [target for target in targets_of(current) if target.generation.number not in written]
            if not missing:
                if void := _void(task, current):
                    await self._remove(task, current, void)
                return current
            try:
                await self._write(task, current, missing, again=bool(written))
            except StoreError as error:
                restarts += 1
                if restarts > _MOST_RESTARTS or not await self._is_removed(task, missing, error):
                    raise
                written.clear()
                current = await self._open(task)
                continue
            written |= {target.generation.number for target in missing}
            current = await self._tables.read(account, name)
            if current is not None:
                await self._tables.remove(current, written)
                if (
                    current.current is None
                ):  # dropped: by an earlier request, the documents belong into another table
                    written.clear()
                    current = await self._open(task)
        return None

    async def _is_removed(self, task: IndexTask, targets: Sequence[Target], error: StoreError) -> bool:
        """Whether the error may have been caused by the removal of one of the tables."""
        if isinstance(error, UnknownTable):
            return True
        return not await self._tables.are_named(task.caller.account, task.collection, targets)

    async def _remove(self, task: IndexTask, record: CollectionRecord, void: Sequence[str]) -> None:
        """Remove documents of the request that a later one dropped while this one was written."""
        targets = targets_of(record)
        try:
            await self._writer.delete_outdated(void, targets, task.version)
            if is_memory(task.collection):
                await self._forgetting.purge(targets)
        except StoreError as error:
            if not await self._is_removed(task, targets, error):
                raise

    async def _write(
        self, task: IndexTask, record: CollectionRecord, targets: Sequence[Target], *, again: bool
    ) -> None:
        """`again`: into a further table; the documents are counted already, only its vectors are not."""
        counts = task.counts
        if again:
            counts = Counts(costs=task.counts.costs)
        else:
            counts.begin_again()
        void = _void(task, record)
        counts.refused |= dict.fromkeys(void, _VOID)
        body = replace(
            task.body, documents=tuple(each for each in task.body.documents if each.id not in void)
        )
        context = WriteContext(task.version, task.caller, counts, task.on_progress)
        forgets = is_memory(task.collection)
        replaced: list[str] = []
        if forgets:
            replaced = await self._writer.changed_in(targets[0], body)
        await self._writer.write(body, targets, context)
        if again:
            task.counts.changed += counts.changed
            task.counts.repeated += counts.repeated
        if forgets:
            # A process that died after it deleted rows may have left them in the files.
            if replaced or task.body.delete or task.repeated:
                await self._forgetting.purge(targets)
            task.counts.deleted += await self._forgetting.enforce_limit(targets, task.version)

    async def _with_wanted_model(self, task: IndexTask, record: CollectionRecord) -> CollectionRecord:
        """Other requests go on meanwhile, and write into both tables."""
        building = record.building
        if building is None or record.current is None or not self._names_model(task):
            return record
        if not has_vectors_of(building, self._kind(task, record)):
            return record
        account, name = record.account, record.name
        old, new = targets_of(record)
        context = WriteContext(task.version, task.caller, task.counts, task.on_progress)
        try:
            await self._rebuilder.fill(old, new, context)
        except EmbeddingFailed:
            await self._tables.abandon_model_change(account, name, building.number)
            raise
        except StoreError as error:
            if not await self._is_removed(task, (old, new), error):
                raise
            # another request has switched, abandoned or dropped it
            return await self._tables.read(account, name) or record
        return await self._tables.switch(account, name, building.number) or record

    def _kind(self, task: IndexTask, record: CollectionRecord | None) -> VectorKind:
        current = None if record is None else record.current
        return self._models.kind(task.body.model, task.body.dimensions, current)

    def _names_model(self, task: IndexTask) -> bool:
        return bool(task.body.model) or task.body.dimensions is not None


def _void(task: IndexTask, record: CollectionRecord | None) -> list[str]:
    """The documents of the request that a later request dropped, with their collection or conversation."""
    return [each.id for each in task.body.documents if void_before(record, each.id) > task.version]
