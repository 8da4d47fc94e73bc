"""Publishing the deltas of one attempt: the first at once, later ones gathered, always in order."""

from __future__ import annotations

import asyncio

from penstock.replies import ReplyPublisher
from services.worker.chunks import Piece
from services.worker.coalescing import Coalescer, Flush

__all__ = ["DeltaSink"]


class DeltaSink:
    """A Coalescer with a timer."""

    def __init__(self, reply: ReplyPublisher) -> None:
        self._reply = reply
        self._coalescer = Coalescer()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._late: asyncio.Task[None] | None = None
        self.bytes_out = 0
        """Of text and choices published: what a broken stream's output is estimated from."""

    async def push(self, piece: Piece) -> None:
        for flush in self._coalescer.push(piece, self._loop.time()):
            await self._publish(flush)
        due_s = self._coalescer.due_s()
        if due_s is not None and self._timer is None:
            self._timer = self._loop.call_at(due_s, self._due)

    async def end(self) -> None:
        """Publish what is still held."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        rest = self._coalescer.flush()
        if rest is not None:
            await self._publish(rest)
        elif self._late is not None:
            await self._late

    def drop(self) -> None:
        """The attempt is over; what is still held was never shown and need not be.

        That goes for what fell due this very moment as well: it would go out under the number of the next attempt.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._late is not None:
            self._late.cancel()

    def _due(self) -> None:
        self._timer = None
        flush = self._coalescer.flush()
        if flush is not None:
            self._late = self._loop.create_task(self._send_after(self._late, flush))

    async def _publish(self, flush: Flush) -> None:
        if self._late is not None:
            await self._late
            self._late = None
        await self._send(flush)

    async def _send_after(self, earlier: asyncio.Task[None] | None, flush: Flush) -> None:
        if earlier is not None:
            await earlier
        await self._send(flush)

    async def _send(self, flush: Flush) -> None:
        self.bytes_out += len(flush.text) + sum(map(len, flush.choices))
        await self._reply.delta(flush.text, flush.choices)
