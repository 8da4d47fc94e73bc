"""Texts of all requests, encoded in small steps that the requests share.

A question of a user must not wait for a document with a thousand texts before it. Short requests, as questions are,
share the first half of the next step. The rest is for the long request with the least left to do, so that the most
requests are answered soon; turns would let all of them end late.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np

from services.encoder.errors import QueueFull
from services.encoder.model import Vectors
from services.encoder.pieces import pieces
from services.encoder.request import DIMENSIONS

__all__ = ["EncodingQueue"]

_STEP_CHARACTERS: Final = 4_000
"""Of one step, which takes about 60 ms. Larger steps are not faster."""
_SHORT: Final = 1_000
"""Characters of a short request, at most."""
_PER_PIECE: Final = 50
"""A piece takes as long as so many characters, however short it is."""
_S_PER_CHARACTER: Final = 15e-6

Encode = Callable[[Sequence[str]], Vectors]


class _Job:
    """The texts of one request."""

    def __init__(self, texts: Sequence[str], done: asyncio.Future[Vectors]) -> None:
        split = [pieces(text) for text in texts]
        self.pieces = [piece for each in split for piece in each]
        self.owners = [number for number, each in enumerate(split) for _ in each]
        self.sums = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        self.next = 0
        self.left = sum(map(len, self.pieces))
        """Characters that no step has yet."""
        self.done = done

    @property
    def is_over(self) -> bool:
        """Complete, failed, or cancelled."""
        return self.next == len(self.pieces) or self.done.done()


_Share = tuple[_Job, int, int]
"""A part of a step: a request, and the first and last place, exclusive, of its pieces in the step."""


class EncodingQueue:
    """`run` encodes until it is cancelled; used from one event loop."""

    def __init__(self, encode: Encode, max_characters: int) -> None:
        self._encode = encode
        self._max_characters = max_characters
        self._short: deque[_Job] = deque()
        self._long: list[_Job] = []
        self._work = asyncio.Event()
        self.characters = 0
        """Of all requests in progress."""

    async def means(self, texts: Sequence[str]) -> Vectors:
        """For each text the mean of the vectors of its pieces. Raises QueueFull.

        A request is always accepted when nothing is in progress, whatever its size. Cancel it to drop its work.
        """
        characters = sum(map(len, texts))
        excess = self.characters + characters - self._max_characters
        if self.characters and excess > 0:
            raise QueueFull(math.ceil(min(excess, self.characters) * _S_PER_CHARACTER))
        job = _Job(texts, asyncio.get_running_loop().create_future())
        (self._short if characters <= _SHORT else self._long).append(job)
        self._work.set()
        self.characters += characters
        try:
            return await job.done
        finally:
            self.characters -= characters

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "encoder") as thread:
            while True:
                step = self._take()
                if not step:
                    self._work.clear()
                    await self._work.wait()
                    continue
                texts = [job.pieces[at] for job, start, end in step for at in range(start, end)]
                try:
                    vectors = await loop.run_in_executor(thread, self._encode, texts)
                except Exception as error:  # noqa: BLE001  whatever the library raises is the answer to these requests
                    self._fail(step, error)
                else:
                    self._add(step, vectors)

    def _take(self) -> list[_Share]:
        """The next step: at least one piece, if there is one."""
        shares: list[_Share] = []
        left = _STEP_CHARACTERS // 2 if self._long else _STEP_CHARACTERS
        left = _STEP_CHARACTERS - self._fill(shares, self._short, left)
        if left > 0 and self._long:
            waiting = deque(sorted(self._long, key=lambda job: job.left))
            self._fill(shares, waiting, left)
            self._long = list(waiting)
        return shares

    @staticmethod
    def _fill(shares: list[_Share], jobs: deque[_Job], most: int) -> int:
        """Take pieces of one job after the other, up to `most` characters or a piece more; returns their characters."""
        taken = 0
        for _ in range(len(jobs)):
            job = jobs.popleft()
            if job.is_over:
                continue
            start = job.next
            while job.next < len(job.pieces) and taken < most:
                taken += len(job.pieces[job.next]) + _PER_PIECE
                job.left -= len(job.pieces[job.next])
                job.next += 1
            if job.next > start:
                shares.append((job, start, job.next))
            if job.next < len(job.pieces):
                jobs.append(job)
            if taken >= most:
                break
        return taken

    def _add(self, step: Sequence[_Share], vectors: Vectors) -> None:
        row = 0
        for job, start, end in step:
            for at in range(start, end):
                job.sums[job.owners[at]] += vectors[row]
                row += 1
            if end == len(job.pieces) and not job.done.done():
                job.done.set_result(job.sums)

    @staticmethod
    def _fail(step: Sequence[_Share], error: BaseException) -> None:
        for job, *_ in step:
            if not job.done.done():
                job.done.set_exception(error)
