"""Batches for the encoder: the texts that arrive while one batch is encoded form the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from msgspec import Struct

from services.guard.classifier.encoder import Encoder, Vectors

__all__ = ["BatchingEncoder", "EncoderOverloaded", "Rate"]

Rate = Callable[[Sequence[str]], Vectors]
"""A function of the encoder's thread: one row for each text."""
BATCH_CHARACTERS: Final = 3_000
"""The characters of one batch, after which no further text joins it: about 40 ms, so that a short text never waits long
for a thread. Larger batches are not faster by the text."""
MOST_WAITING: Final = 16_384
"""The texts that may wait. A text of 1 MB has 4,600 windows, of which all are rated by n-grams (0.1 ms each) and few
are encoded."""


class EncoderOverloaded(Exception):
    """More texts wait for the encoder than it can encode in a reasonable time."""


class _Waiting(Struct, eq=False):
    rate: Rate
    texts: Sequence[str]
    done: asyncio.Future[Vectors]

    @property
    def characters(self) -> int:
        return sum(map(len, self.texts))


class BatchingEncoder:
    """Encodes in one thread of its own. No text waits for others to come: a batch begins when the thread is free.

    Belongs to one event loop. A caller that is cancelled takes its texts out of the queue.
    """

    def __init__(self, encoder: Encoder, *, most_waiting: int = MOST_WAITING) -> None:
        self.encoder = encoder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self._queue: deque[_Waiting] = deque()
        self._most_waiting = most_waiting
        self._waiting = 0
        self._worker: asyncio.Task[None] | None = None

    async def encode(self, text: str) -> Vectors:
        """One row, before the texts of `run`. Raises EncoderOverloaded."""
        self._accept(1)
        entry = _Waiting(self.encoder.encode, [text], asyncio.get_running_loop().create_future())
        self._queue.appendleft(entry)
        self._start()
        return await entry.done

    async def run(self, rate: Rate, texts: Sequence[str]) -> Vectors:
        """The rows of `rate` for these texts, computed in batches with those of others. Raises EncoderOverloaded."""
        if not texts:
            return np.zeros((0, 1), dtype=np.float32)
        self._accept(len(texts))
        loop = asyncio.get_running_loop()
        entries = [_Waiting(rate, part, loop.create_future()) for part in _parts(texts)]
        self._queue.extend(entries)
        self._start()
        return np.vstack(await asyncio.gather(*(entry.done for entry in entries)))

    def _accept(self, more: int) -> None:
        if self._waiting + more > self._most_waiting:
            raise EncoderOverloaded(f"{self._waiting} texts wait")
        self._waiting += more

    def _start(self) -> None:
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Callers that still wait are cancelled."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        while self._queue:
            self._queue.popleft().done.cancel()
        self._thread.shutdown(wait=False)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while batch := self._next_batch():
                texts = [text for entry in batch for text in entry.texts]
                try:
                    rows = await loop.run_in_executor(self._thread, batch[0].rate, texts)
                except asyncio.CancelledError:
                    for entry in batch:
                        entry.done.cancel()
                    raise
                except Exception as failure:  # noqa: BLE001  whatever the library raises is for the callers
                    _fail(batch, failure)
                else:
                    _answer(batch, rows)
        finally:
            self._worker = None

    def _next_batch(self) -> list[_Waiting]:
        """The entries at the head of the queue that ask for the same; callers that have gone are left out."""
        batch: list[_Waiting] = []
        characters = 0
        while self._queue and characters < BATCH_CHARACTERS:
            entry = self._queue[0]
            if not entry.done.done():
                if batch and entry.rate != batch[0].rate:
                    break
                batch.append(entry)
                characters += entry.characters
            self._queue.popleft()
            self._waiting -= len(entry.texts)
        return batch


def _parts(texts: Sequence[str]) -> list[list[str]]:
    """Parts that are a batch each, so that the texts of other callers come between them."""
    parts: list[list[str]] = [[]]
    characters = 0
    for text in texts:
        if parts[-1] and characters + len(text) > BATCH_CHARACTERS:
            parts.append([])
            characters = 0
        parts[-1].append(text)
        characters += len(text)
    return parts


def _answer(batch: Sequence[_Waiting], rows: Vectors) -> None:
    ends = np.cumsum([len(entry.texts) for entry in batch])
    for entry, end in zip(batch, ends, strict=True):
        if not entry.done.done():
            entry.done.set_result(rows[end - len(entry.texts) : end])


def _fail(batch: Sequence[_Waiting], failure: Exception) -> None:
    for entry in batch:
        if not entry.done.done():
            entry.done.set_exception(failure)
