"""Vectors of questions: the latest ones are kept, but none of a search in a memory, and the same question is embedded
once at a time.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from penstock.bus.clock import loop_now_s
from penstock.contract.retrieval.collections import Generation
from penstock.contract.retrieval.embeddings import FLOAT_BYTES
from penstock.runtime.retrieval.vectors import has_direction
from services.indexer.embedding.gateway import Caller, EmbeddingFailed, EmbeddingGateway
from services.indexer.embedding.models import EmbeddingModels

__all__ = ["QueryVectors"]

_MOST: Final = 2_000
"""Vectors in memory: 24 MB at 3,072 dimensions."""
_CHARACTERS: Final = 8_000
"""Of a question that are embedded."""

_Key = tuple[str, str, int, str]


class QueryVectors:
    def __init__(self, gateway: EmbeddingGateway, models: EmbeddingModels, most: int = _MOST) -> None:
        self._gateway = gateway
        self._models = models
        self._most = most
        self._vectors: OrderedDict[_Key, bytes] = OrderedDict()
        self._running: dict[_Key, asyncio.Task[bytes]] = {}

    async def get(self, question: str, generation: Generation, caller: Caller) -> bytes:
        """Raises EmbeddingFailed."""
        text = question[:_CHARACTERS]
        key = (caller.account, generation.space, generation.dimensions, text)
        if (known := self._vectors.get(key)) is not None:
            self._vectors.move_to_end(key)
            return known
        if (shared := self._running.get(key)) is not None:
            try:
                return await asyncio.shield(shared)
            except EmbeddingFailed:
                # It had the deadline and the budgets of another caller.
                if loop_now_s() >= caller.until_s:
                    raise
        task = asyncio.create_task(self._embed(text, generation, caller))
        self._running[key] = task
        task.add_done_callback(lambda done: self._end(key, done, keep=caller.store))
        return await asyncio.shield(task)

    async def _embed(self, text: str, generation: Generation, caller: Caller) -> bytes:
        route = self._models.route(generation)
        vector = (await self._gateway.embed((text,), route, caller)).vectors[0]
        if len(vector) != FLOAT_BYTES * generation.dimensions or not has_direction(vector):
            raise EmbeddingFailed("retrieval_unavailable", "the model gave no usable vector for the question")
        return vector

    def _end(self, key: _Key, task: asyncio.Task[bytes], *, keep: bool) -> None:
        if self._running.get(key) is task:
            del self._running[key]
        if task.cancelled() or task.exception() is not None or not keep:
            return
        self._vectors[key] = task.result()
        while len(self._vectors) > self._most:
            self._vectors.popitem(last=False)
