"""Documents prepared ahead of what embeds and stores them, in groups of bounded size."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final

from msgspec import Struct

from penstock.contract.retrieval.documents import Document
from services.indexer.documents.document import DocumentRefused
from services.indexer.indexing.prepare import Prepared, Preparer

__all__ = ["Refused", "ToPrepare", "prepared_groups"]

_AHEAD: Final = 3
"""Documents that are being extracted, or wait in order for earlier ones."""
_GROUP_CHUNKS: Final = 512
_GROUP_CHARACTERS: Final = 2_000_000


class ToPrepare(Struct, frozen=True):
    document: Document
    digest: str


class Refused(Struct, frozen=True):
    id: str
    kind: str
    """As in the metrics."""
    reason: str


async def prepared_groups(
    preparer: Preparer, documents: Sequence[ToPrepare], refuse: Callable[[Refused], None]
) -> AsyncGenerator[list[Prepared], None]:
    """All documents in their order, without those for which `refuse` is called.

    Raises ExtractionUnavailable.
    """
    waiting = iter(documents)
    running: deque[tuple[str, asyncio.Task[Prepared]]] = deque()
    group: list[Prepared] = []
    chunks = characters = 0
    try:
        while True:
            while len(running) < _AHEAD and (each := next(waiting, None)) is not None:
                task = asyncio.ensure_future(preparer.prepare(each.document, each.digest))
                running.append((each.document.id, task))
            if not running:
                break
            id_, task = running[0]
            try:
                prepared = await task
            except DocumentRefused as refused:
                refuse(Refused(id_, refused.kind, refused.reason))
                continue
            finally:
                running.popleft()
            group.append(prepared)
            chunks += len(prepared.chunks)
            characters += prepared.characters
            if chunks >= _GROUP_CHUNKS or characters >= _GROUP_CHARACTERS:
                yield group
                group, chunks, characters = [], 0, 0
        if group:
            yield group
    finally:
        for _, task in running:
            task.cancel()
        await asyncio.gather(*(task for _, task in running), return_exceptions=True)
