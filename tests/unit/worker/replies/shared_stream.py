"""A model of the stream of replies, and of the workers that write to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from services.worker.metrics import WorkerMetrics
from services.worker.replies.room import ReplyRoom

__all__ = ["ALLOWANCE", "BOUND", "FREE", "LATE_S", "MIB", "SCARCE", "WINDOW", "WINDOWS", "Store", "Worker"]

MIB = 2**20
BOUND = 256 * MIB
SCARCE = 29 * BOUND // 32
WINDOWS = BOUND // 32
WINDOW = WINDOWS // 8
"""Of each of the eight large replies that half of the stream holds."""
ALLOWANCE = BOUND // 64
FREE = BOUND // 256
LATE_S = 0.02
"""Seconds for which a piece is on its way to the store."""


class Store:
    """The stream, which stores each piece a while after it was sent, in the order of each worker."""

    def __init__(self, stored: int = 0) -> None:
        self.stored = self.most = stored
        self.scarce_s = float("-inf")
        """When it last had no room."""

    def store(self, size: int) -> None:
        self.delete_to(self.stored + size)

    def delete_to(self, size: int) -> None:
        if self.stored > SCARCE:
            self.scarce_s = asyncio.get_running_loop().time()
        self.stored = size
        self.most = max(self.most, size)


class Worker:
    def __init__(self, store: Store, workers: Callable[[], int]) -> None:
        self._store = store
        self.room = ReplyRoom(BOUND, self._size, workers, WorkerMetrics(CollectorRegistry()))

    async def _size(self) -> int:
        """What was sent before is stored then, as after an acknowledgement."""
        await asyncio.sleep(LATE_S)
        return self._store.stored

    async def write(self, account: str, size: int, piece: int, *, pause_s: float = 0.0) -> float:
        """`pause_s`: between room for a piece and its writing. Returns the longest wait for room while the stream had
        some, without waits for a permit and for pieces larger than a window.
        """
        loop = asyncio.get_running_loop()
        longest_s = 0.0
        async with self.room.space(account) as space:
            while space.written < size:
                if not space.take(piece):
                    began_s, had_permit = loop.time(), space.has_permit
                    await space.extend(piece)
                    if had_permit == space.has_permit and piece <= WINDOW:
                        longest_s = max(longest_s, loop.time() - max(began_s, self._seen_scarce_s()))
                await asyncio.sleep(pause_s)
                space.add(piece)
                loop.call_later(LATE_S, self._store.store, piece)
        return longest_s

    def _seen_scarce_s(self) -> float:
        now_s = asyncio.get_running_loop().time()
        return now_s if self._store.stored > SCARCE else self._store.scarce_s
