"""Vectors that need no provider call: those in the memory of this process, and those that any worker has stored."""

from __future__ import annotations

from collections.abc import Container, Iterable

from penstock.contract.retrieval.embeddings import FLOAT_BYTES
from services.worker.embedding.request import WaitingRequest
from services.worker.embedding.vector_memory import VectorMemory
from services.worker.embedding.vector_store import VectorStore

__all__ = ["KnownVectors"]


class KnownVectors:
    def __init__(self, store: VectorStore) -> None:
        self._memory = VectorMemory()
        self.store = store

    def start(self) -> None:
        self.store.start()

    async def stop(self) -> None:
        await self.store.stop()

    async def find(self, request: WaitingRequest, in_flight: Container[str]) -> list[str]:
        """Add what is known to the request; returns the keys that are missing then. Texts `in_flight` are not looked
        up: their vectors will come. Of a request that stores nothing, nothing is known.
        """
        if not request.execution.work.store:
            return list(dict.fromkeys(request.keys))
        missing = self._find_in_memory(request, dict.fromkeys(request.keys))
        if not missing:
            return missing
        unknown = [key for key in missing if key not in in_flight]
        size = request.dimensions * FLOAT_BYTES
        stored = await self.store.get(unknown, size)
        for key, vector in stored.items():
            self._memory.add(key, vector)
        request.found.update(stored)
        request.counts.stored += len(stored)
        return self._find_in_memory(request, [key for key in missing if key not in stored])

    def _find_in_memory(self, request: WaitingRequest, keys: Iterable[str]) -> list[str]:
        """Add what the memory has of these keys to the request; returns the others."""
        found, counts = request.found, request.counts
        missing: list[str] = []
        for key in keys:
            vector = self._memory.get(key)
            if vector is None:
                missing.append(key)
            else:
                found[key] = vector
                counts.memory += 1
        return missing

    def remember(self, key: str, vector: bytes) -> None:
        """It is stored already."""
        self._memory.add(key, vector)

    def keep(self, key: str, vector: bytes) -> None:
        """A provider has sent it."""
        self._memory.add(key, vector)
        self.store.put(key, vector)
