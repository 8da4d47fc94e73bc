"""Batches for the encoder: the texts that arrive while one batch is encoded form the next, in fair turns."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from msgspec import Struct

from services.guard.classifier.encoder import Encoder, Vectors, cost_of
from services.guard.detectors.turns import FairQueue, Turn, current_turn
from services.guard.detectors.work_time import WorkTimeout, current_timeout

__all__ = ["BatchingEncoder", "EncoderOverloaded", "Rate"]

Rate = Callable[[Sequence[str]], Vectors]
"""A function of the encoder's thread: one row for each text."""
BATCH_COST: Final = 1_500
"""The cost of one batch (`cost_of`), 20 to 70 ms: nothing can end a batch before, and a text that comes during it waits
for its end. Larger batches are not faster by the text: the library computes 384 tokens at once."""
MOST_WAITING: Final = 16_384
"""The texts of one account that may wait. A text of 1 MB has 4,600 windows, of which all are rated by n-grams (0.1 ms
each) and few are encoded."""
_ACCOUNTS: Final = 3
"""How many accounts may have so many texts waiting at once: about 50 MB."""


class EncoderOverloaded(Exception):
    """More texts wait for the encoder than it can encode in a reasonable time."""


class _Call(Struct, eq=False):
    """Texts of one caller. `taken`: those that are in a batch or were; `rows`: of those that are computed."""

    turn: Turn
    rate: Rate
    texts: Sequence[str]
    costs: Sequence[int]
    done: asyncio.Future[Vectors]
    rows: list[Vectors]
    timeout: WorkTimeout | None = None
    """Paused while none of the texts is being encoded."""
    taken: int = 0

    @property
    def waiting(self) -> int:
        return len(self.texts) - self.taken


class BatchingEncoder:
    """Encodes in one thread of its own. No text waits for others to come: a batch begins when the thread is free, with
    one text of each check in turn, so that a check with few texts waits for one batch and not for large checks.

    Belongs to one event loop. A caller that is cancelled takes its texts out of the queue.
    """

    def __init__(self, encoder: Encoder, *, most_waiting: int = MOST_WAITING) -> None:
        self.encoder = encoder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self._urgent: FairQueue[_Call] = FairQueue()
        self._lanes: OrderedDict[Rate, FairQueue[_Call]] = OrderedDict()
        """One for each function: a batch is one call of it."""
        self._most_waiting = most_waiting
        self._waiting: Counter[str] = Counter()
        self._worker: asyncio.Task[None] | None = None
        self._calls: set[_Call] = set()

    async def encode(self, text: str) -> Vectors:
        """One row, before the texts of `run`. Raises EncoderOverloaded."""
        return await self._call(self._urgent, self.encoder.encode, [text], [cost_of(text)])

    async def run(self, rate: Rate, texts: Sequence[str], costs: Sequence[int] | None = None) -> Vectors:
        """The rows of `rate` for these texts, computed in batches with those of others. Raises EncoderOverloaded.

        `costs`: of each text, in characters of prose that are encoded in the same time; None: as `cost_of` says.
        """
        if not texts:
            return np.zeros((0, 1), dtype=np.float32)
        lane = self._lanes.setdefault(rate, FairQueue())
        return await self._call(lane, rate, texts, costs or [cost_of(text) for text in texts])

    async def _call(
        self, lane: FairQueue[_Call], rate: Rate, texts: Sequence[str], costs: Sequence[int]
    ) -> Vectors:
        turn = current_turn()
        self._accept(turn.account, len(texts))
        done: asyncio.Future[Vectors] = asyncio.get_running_loop().create_future()
        call = _Call(turn, rate, texts, costs, done, [], current_timeout())
        self._calls.add(call)
        lane.append(turn, call)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        _pause(call)
        try:
            return await call.done
        finally:
            _resume(call)
            self._calls.discard(call)
            self._release(turn.account, call.waiting)

    def _accept(self, account: str, more: int) -> None:
        all_waiting = self._waiting.total()
        if self._waiting[account] + more > self._most_waiting or (
            all_waiting + more > _ACCOUNTS * self._most_waiting
        ):
            raise EncoderOverloaded(
                f"{all_waiting} texts wait, {self._waiting[account]} of them of the account"
            )
        self._waiting[account] += more

    def _release(self, account: str, texts: int) -> None:
        self._waiting[account] -= texts
        if self._waiting[account] <= 0:
            del self._waiting[account]

    async def close(self) -> None:
        """Callers that still wait are cancelled."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        for call in self._calls:
            call.done.cancel()
        self._thread.shutdown(wait=False)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while batch := self._next_batch():
                texts = [text for _, text in batch]
                for call, _ in batch:
                    _resume(call)
                try:
                    rows = await loop.run_in_executor(self._thread, batch[0][0].rate, texts)
                except asyncio.CancelledError:
                    for call, _ in batch:
                        call.done.cancel()
                    raise
                except Exception as failure:  # noqa: BLE001  whatever the library raises is for the callers
                    _fail(batch, failure)
                else:
                    for call, _ in batch:
                        _pause(call)
                    _answer(batch, rows)
        finally:
            self._worker = None

    def _next_batch(self) -> list[tuple[_Call, str]]:
        """Calls with one text each; a call with several texts can be there several times. Callers that have gone are
        left out.
        """
        batch: list[tuple[_Call, str]] = []
        while not batch and (lane := self._next_lane()):
            cost = 0
            while lane:
                call = lane.first()
                more = 0 if call.done.done() else call.costs[call.taken]
                if batch and cost + more > BATCH_COST:
                    break
                lane.popleft()
                if call.done.done():
                    continue
                cost += more
                batch.append((call, call.texts[call.taken]))
                call.taken += 1
                self._release(call.turn.account, 1)
                if call.waiting:
                    lane.append(call.turn, call)
        return batch

    def _next_lane(self) -> FairQueue[_Call] | None:
        """The texts of `encode` go first, then the functions take turns."""
        if self._urgent:
            return self._urgent
        for rate, lane in list(self._lanes.items()):
            if lane:
                self._lanes.move_to_end(rate)
                return lane
            del self._lanes[rate]
        return None


def _pause(call: _Call) -> None:
    if call.timeout is not None and not call.done.done():
        call.timeout.pause()


def _resume(call: _Call) -> None:
    if call.timeout is not None:
        call.timeout.resume()


def _answer(batch: Sequence[tuple[_Call, str]], rows: Vectors) -> None:
    for (call, _), row in zip(batch, rows, strict=True):
        call.rows.append(row)
        if len(call.rows) == len(call.texts) and not call.done.done():
            call.done.set_result(np.vstack(call.rows))


def _fail(batch: Sequence[tuple[_Call, str]], failure: Exception) -> None:
    for call, _ in batch:
        if not call.done.done():
            call.done.set_exception(failure)
