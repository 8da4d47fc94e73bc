"""Publishing the deltas of one attempt: the first at once, later ones gathered, always in order."""

from __future__ import annotations

import asyncio

from penstock.runtime.answer_size import answer_bytes
from penstock.runtime.reply_publisher import ReplyPublisher
from services.worker.execution.coalescer import Coalescer, Flush
from services.worker.providers.bounds import STREAM_BYTES, oversized
from services.worker.providers.streams.choices import content_bytes
from services.worker.providers.streams.chunks import Piece

__all__ = ["DeltaSink"]


class DeltaSink:
    """A Coalescer with a timer.

    Publishing may have to wait, and the timer may go off meanwhile: what is gathered is taken out and published
    under one lock, so that the order of the deltas is the order of the pieces.
    """

    def __init__(self, reply: ReplyPublisher, kept: list[Flush] | None = None) -> None:
        """`kept` gets whatever is published, in order."""
        self._reply = reply
        self._kept = kept
        self._coalescer = Coalescer()
        self._loop = asyncio.get_running_loop()
        self._lock = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._late: asyncio.Task[None] | None = None
        self._taken_bytes = 0
        self.bytes_out = 0
        """Of text and choices published."""
        self.content_bytes = 0
        """Of what the model wrote, as far as it was taken: output without a reported count is estimated from it."""

    async def push(self, piece: Piece) -> None:
        """Raises ProviderFailure when the answer becomes longer than an answer may be."""
        size = answer_bytes(piece.text, piece.choices)
        self._taken_bytes += size
        self.content_bytes += (
            size if not piece.choices else answer_bytes(piece.text) + sum(map(content_bytes, piece.choices))
        )
        if self._taken_bytes > STREAM_BYTES:
            raise oversized("the streamed answer", STREAM_BYTES)
        if self._late is not None and self._late.done():
            await self._late  # what could not be published must not become a hole in the answer
        async with self._lock:
            for flush in self._coalescer.push(piece, self._loop.time()):
                await self._send(flush)
        due_s = self._coalescer.due_s()
        if due_s is not None and self._timer is None:
            self._timer = self._loop.call_at(due_s, self._due)

    async def end(self) -> None:
        """Publish what is still held."""
        self._stop_timer()
        await self._flush()
        if self._late is not None:
            await self._late

    def drop(self) -> None:
        """The attempt is over; what is still held was never shown and need not be.

        That goes for what fell due this very moment as well: it would go out under the number of the next attempt.
        """
        self._stop_timer()
        if self._late is not None:
            self._late.cancel()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        self._timer = None
        if self._late is None or (self._late.done() and self._late.exception() is None):
            self._late = self._loop.create_task(self._flush())

    async def _flush(self) -> None:
        async with self._lock:
            for flush in self._coalescer.flush():
                await self._send(flush)

    async def _send(self, flush: Flush) -> None:
        self.bytes_out += answer_bytes(flush.text, flush.choices)
        await self._reply.delta(flush.text, flush.choices)
        if self._kept is not None:
            self._kept.append(flush)
