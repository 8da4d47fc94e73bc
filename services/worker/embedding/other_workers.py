"""Texts that another worker is embedding: they are watched until their vectors are stored, or the worker is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from penstock.bus.clock import loop_now_s
from penstock.contract.names import Role
from services.worker.embedding.request import Text
from services.worker.embedding.vector_claims import EXPIRES_S, RELEASED, VectorClaims, is_claim
from services.worker.embedding.vector_store import VectorStore

__all__ = ["OtherWorkers"]

_FIRST_S: Final = 0.02
_LONGEST_S: Final = 0.2
"""Seconds between two looks at the watched texts: the first are short, as the other worker began a moment ago."""


class _Watched(Struct):
    text: Text
    sequence: int
    """Of the last message that was seen on its subject."""
    since_s: float
    """When it was first seen."""


class OtherWorkers:
    """Keeps workers from paying for the same text at the same time."""

    def __init__(
        self,
        claims: VectorClaims,
        store: VectorStore,
        has_peers: Callable[[Role], bool],
        arrived: Callable[[Text, bytes], bool],
        again: Callable[[Text], None],
    ) -> None:
        """`has_peers`: whether another live worker serves the role. `arrived`: the vector of a watched text is stored;
        returns False if it is not a valid one. `again`: no worker embeds a watched text any more.
        """
        self._claims = claims
        self._store = store
        self._has_peers = has_peers
        self._arrived = arrived
        self._again = again
        self._watched: dict[str, _Watched] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._claims.start()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._claims.stop()

    async def claim(self, role: Role, batch: list[Text]) -> list[Text]:
        """The texts of the batch that this worker is to embed; it watches the others."""
        if not self._has_peers(role):
            return batch
        lost = await self._claims.take({text.key: text.last_sequence for text in batch if text.kept})
        if not lost:
            return batch
        now_s = loop_now_s()
        for text in batch:
            if text.key in lost:
                self._watched[text.key] = _Watched(text, -1, now_s)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())
        return [text for text in batch if text.key not in lost]

    def embedded(self, key: str) -> None:
        """This worker has the vector, and is about to store it."""
        self._claims.drop_claim(key)

    async def release(self, batch: list[Text]) -> None:
        """Texts of the batch that were not embedded may be embedded by another worker."""
        await self._claims.release([text.key for text in batch])

    async def _watch(self) -> None:
        delay_s = _FIRST_S
        while self._watched:
            await asyncio.sleep(delay_s)
            delay_s = min(_LONGEST_S, 1.5 * delay_s)
            entries = await self._store.entries(list(self._watched))
            for key, watched in tuple(self._watched.items()):
                sequence, data = (0, RELEASED) if entries is None else entries.get(key, (0, RELEASED))
                if not is_claim(data) and self._arrived(watched.text, data):
                    del self._watched[key]
                elif not is_claim(data) or data == RELEASED or self._is_expired(watched, sequence):
                    del self._watched[key]
                    watched.text.last_sequence = sequence
                    self._again(watched.text)

    def _is_expired(self, watched: _Watched, sequence: int) -> bool:
        now_s = loop_now_s()
        if sequence != watched.sequence:
            watched.sequence, watched.since_s = sequence, now_s
        return now_s - watched.since_s >= EXPIRES_S
