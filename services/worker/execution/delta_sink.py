"""Publishes the deltas of one attempt: the first at once, later ones joined into larger ones, always in order."""

from __future__ import annotations

import asyncio
from typing import Final

from msgspec import Raw, Struct

from penstock.contract.reply import answer_bytes, text_bytes
from penstock.runtime.reply_publisher import ReplyPublisher
from services.worker.providers.size_limits import SHORTER, STREAM_BYTES, oversized
from services.worker.providers.streams.choices import content_bytes
from services.worker.providers.streams.chunks import ChunkDelta

__all__ = ["Coalescer", "DeltaSink", "JoinedDelta"]


_SMALL: Final = 64 * 1024
"""Bytes of deltas whose messages any server accepts: their JSON may be six times as large."""


class JoinedDelta(Struct, frozen=True, gc=False):
    """One delta to publish: text, or choice objects in order; exactly one of the two is not empty."""

    text: str
    choices: tuple[Raw, ...] = ()


class Coalescer:
    """Joins the pieces of one attempt into fewer, larger deltas. Times are seconds of one monotonic clock.

    Every delta is a message, and providers send tokens one by one, often several at once. The first piece is published
    at once, so that the reader sees output early; later ones wait a few milliseconds for more.
    """

    __slots__ = ("_begun", "_choices", "_due_s", "_gather_s", "_max_bytes", "_size", "_texts")

    def __init__(self, *, gather_s: float = 0.008, max_bytes: int = 16 * 1024) -> None:
        """Deltas are published when they are `gather_s` old or have `max_bytes`, which the last piece may exceed."""
        self._gather_s = gather_s
        self._max_bytes = max_bytes
        self._begun = False
        self._texts: list[str] = []
        self._choices: list[Raw] = []
        self._size = 0
        self._due_s: float | None = None

    def push(self, piece: ChunkDelta, now_s: float) -> tuple[JoinedDelta, ...]:
        """Add a piece; returns the deltas to publish now, in this order.

        A piece with text and choices is published choices first. Such pieces are joined into two deltas, so that text
        with log probabilities costs two messages for many tokens.
        """
        if not self._begun:
            self._begun = True
            return _joined(piece.text, piece.choices)
        before = self.flush() if self._must_wait(piece) else ()
        if self._due_s is None:
            self._due_s = now_s + self._gather_s
        self._add(piece)
        if self._size >= self._max_bytes or now_s >= self._due_s:
            return before + self.flush()
        return before

    @property
    def size(self) -> int:
        """Bytes of the waiting deltas."""
        return self._size

    def due_s(self) -> float | None:
        """When to call `flush`; None while nothing waits."""
        return self._due_s

    def flush(self) -> tuple[JoinedDelta, ...]:
        """The waiting deltas; to be called when they are due, and before anything that must follow them."""
        if self._due_s is None:
            return ()
        gathered = _joined("".join(self._texts), tuple(self._choices))
        self._texts.clear()
        self._choices.clear()
        self._size = 0
        self._due_s = None
        return gathered

    def _must_wait(self, piece: ChunkDelta) -> bool:
        """Whether the waiting deltas are of another kind, so that the piece must follow them."""
        if piece.choices:
            return bool(self._texts) and not (self._choices and piece.text)
        return bool(self._choices) and not self._texts

    def _add(self, piece: ChunkDelta) -> None:
        if piece.text:
            self._texts.append(piece.text)
            self._size += text_bytes(piece.text)
        if piece.choices:
            self._choices += piece.choices
            self._size += sum(map(len, piece.choices))


def _joined(text: str, choices: tuple[Raw, ...]) -> tuple[JoinedDelta, ...]:
    if not choices:
        return (JoinedDelta(text),)
    return (JoinedDelta("", choices), JoinedDelta(text)) if text else (JoinedDelta("", choices),)


class DeltaSink:
    """A Coalescer with a timer.

    The timer may fire while a publish waits: deltas are taken from the coalescer and published under one lock, so that
    they keep the order of the pieces.
    """

    def __init__(self, reply: ReplyPublisher, keep_bytes: int = 0, *, text_characters: int = 0) -> None:
        """`keep_bytes`: how much of the published answer is kept in memory; `text_characters`: the same of its text."""
        self._text_left = text_characters
        self._texts: list[str] = []
        self._reply = reply
        self._keep_bytes = keep_bytes
        self.kept: list[JoinedDelta] = []
        """Published deltas in order, from the first on; after `drop` also those that were not published any more."""
        self._coalescer = Coalescer()
        self._loop = asyncio.get_running_loop()
        self._lock = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._late: asyncio.Task[None] | None = None
        self._taken_bytes = 0
        self.bytes_out = 0
        """Bytes of text and choices published."""
        self.content_bytes = 0
        """Bytes that the model wrote, by which output without a reported token count is estimated."""

    @property
    def text(self) -> str:
        """The beginning of the text of choice 0, as far as it was kept."""
        return "".join(self._texts)

    def take_room(self, size: int) -> bool:
        """Take room for a `push` of so many bytes; False where it has to wait."""
        return self._reply.take_room(self._coalescer.size + size)

    async def wait_for_room(self, size: int) -> None:
        await self._reply.wait_for_room(self._coalescer.size + size)

    async def push(self, piece: ChunkDelta) -> None:
        """Raises ProviderFailure when the answer exceeds its size limit."""
        size = answer_bytes(piece.text, piece.choices)
        if not self.take_room(size):
            await self.wait_for_room(size)
        self._taken_bytes += size
        self.content_bytes += (
            size if not piece.choices else answer_bytes(piece.text) + sum(map(content_bytes, piece.choices))
        )
        if self._taken_bytes > STREAM_BYTES:
            raise oversized("the streamed answer", STREAM_BYTES, SHORTER)
        if self._text_left > 0 and piece.text:
            self._texts.append(piece.text[: self._text_left])
            self._text_left -= len(piece.text)
        late = self._late
        if late is not None and late.done():
            await late  # raises a failed publish, which would leave a gap in the answer
        if self._lock.locked() or (late is not None and not late.done()):
            async with self._lock:
                await self._send(self._coalescer.push(piece, self._loop.time()))
        elif deltas := self._coalescer.push(piece, self._loop.time()):
            async with self._lock:
                await self._send(deltas)
        due_s = self._coalescer.due_s()
        if due_s is not None and self._timer is None:
            self._timer = self._loop.call_at(due_s, self._due)

    async def end(self) -> None:
        """Publish what still waits."""
        self._stop_timer()
        await self._flush()
        if self._late is not None:
            await self._late

    def drop(self) -> None:
        """Discard what still waits when the attempt is over, due or not: it would be published under the number of the
        next attempt.
        """
        self._stop_timer()
        if self._late is not None:
            self._late.cancel()
        if self.bytes_out < self._keep_bytes:
            self.kept += self._coalescer.flush()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        self._timer = None
        if self._late is not None and (not self._late.done() or self._late.exception() is not None):
            return
        if self._coalescer.size <= _SMALL and not self._lock.locked() and self._reply.sends_at_once():
            for delta in self._coalescer.flush():  # nearly always: a task costs as much as the rest
                self._count(delta)
                self._reply.delta_at_once(delta.text, delta.choices)
        else:
            self._late = self._loop.create_task(self._flush())

    async def _flush(self) -> None:
        async with self._lock:
            await self._send(self._coalescer.flush())

    async def _send(self, deltas: tuple[JoinedDelta, ...]) -> None:
        for delta in deltas:
            self._count(delta)
            await self._reply.delta(delta.text, delta.choices)

    def _count(self, delta: JoinedDelta) -> None:
        """Before it is sent: a delta whose sending was broken off may have arrived."""
        self.bytes_out += answer_bytes(delta.text, delta.choices)
        if self.bytes_out <= self._keep_bytes:
            self.kept.append(delta)
