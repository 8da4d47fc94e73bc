"""Send files and deletions to the indexer: a few requests at once, with their progress."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from msgspec import Struct

from penstock.cli.retrieval.files import FoundFile
from penstock.cli.retrieval.requests import file_groups, id_groups, read_group
from penstock.cli.retrieval.totals import IndexTotals
from penstock.contract.reply import IndexProgress
from penstock.contract.retrieval.documents import Document, IndexReport, Metadata
from penstock.runtime.aio import cancel_and_wait

__all__ = ["IndexClient", "IndexTarget", "Progress", "send_deletions", "send_files"]

_IN_FLIGHT: Final = 3
"""Requests at once: one is read, one is indexed and one waits, without a burst of memory."""


class IndexClient(Protocol):
    """What is needed of `penstock.client.client.Client`."""

    async def index_and_wait(
        self,
        collection: str,
        *,
        documents: Iterable[Document] = (),
        delete: Iterable[str] = (),
        model: str = "",
        user: str = "",
        on_progress: Callable[[IndexProgress], object] | None = None,
    ) -> IndexReport: ...


class Progress(Protocol):
    """What is told about a running command."""

    def advance(self, documents: int, chunks: int) -> None: ...


class IndexTarget(Struct, frozen=True, kw_only=True):
    """Where documents go, and what is stored with each of them."""

    collection: str
    metadata: Metadata
    model: str = ""
    user: str = ""


async def send_files(
    client: IndexClient,
    target: IndexTarget,
    files: Iterable[FoundFile],
    totals: IndexTotals,
    progress: Progress,
) -> None:
    """Index the files and add what was done to `totals`. The first error ends the others.

    Raises as `Client.index_and_wait`. What was indexed until then stays, and is recognised the next time.
    """
    groups = file_groups(files)

    async def work() -> None:
        for group in groups:  # shared by the tasks, which run in one thread
            await _send_group(client, target, group, totals, progress)

    tasks = [asyncio.create_task(work(), name=f"index {number}") for number in range(_IN_FLIGHT)]
    try:
        await asyncio.gather(*tasks)
    finally:
        await cancel_and_wait(*tasks)


async def send_deletions(
    client: IndexClient, target: IndexTarget, ids: Sequence[str], totals: IndexTotals
) -> None:
    """Delete documents. Raises as `Client.index_and_wait`."""
    for group in id_groups(ids):
        totals.add(await client.index_and_wait(target.collection, delete=group, user=target.user))


async def _send_group(
    client: IndexClient,
    target: IndexTarget,
    files: Sequence[FoundFile],
    totals: IndexTotals,
    progress: Progress,
) -> None:
    read = await asyncio.to_thread(read_group, files, target.metadata)
    totals.problems += read.problems
    totals.left_out += read.left_out
    unsent = len(files) - len(read.documents)
    done = _Done(progress)
    done.set(unsent, 0)
    if not read.documents:
        return
    report = await client.index_and_wait(
        target.collection,
        documents=read.documents,
        model=target.model,
        user=target.user,
        on_progress=lambda event: done.report(event, unsent),
    )
    done.set(len(files), report.chunks)
    totals.add(report)


class _Done:
    """How far one request is, reported as what was added since the last report."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._documents = self._chunks = 0

    def report(self, event: IndexProgress, unsent: int) -> None:
        self.set(unsent + event.done, event.chunks)

    def set(self, documents: int, chunks: int) -> None:
        more = max(0, documents - self._documents), max(0, chunks - self._chunks)
        if any(more):
            self._progress.advance(*more)
        self._documents = max(documents, self._documents)
        self._chunks = max(chunks, self._chunks)
