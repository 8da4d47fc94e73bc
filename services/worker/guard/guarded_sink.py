"""Output held back until the guard allows it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from penstock.bus.clock import loop_now_s
from penstock.contract.reply import answer_bytes
from services.worker.guard.guard_checks import Refused
from services.worker.guard.metrics import GuardMetrics
from services.worker.providers.size_limits import STREAM_BYTES, oversized
from services.worker.providers.streams.choices import content_bytes
from services.worker.providers.streams.chunks import ChunkDelta

__all__ = ["GuardedSink", "Published"]


class Published(Protocol):
    """Publishes deltas; a DeltaSink."""

    @property
    def bytes_out(self) -> int: ...

    async def push(self, piece: ChunkDelta) -> None: ...

    async def end(self) -> None: ...

    def drop(self) -> None: ...


class _Gate(Protocol):
    """Whether the input allows output; a RequestGuard."""

    @property
    def is_open(self) -> bool: ...

    async def allowed(self) -> None:
        """Wait until it is known. Raises Refused."""
        ...


class GuardedSink:
    """The output of one attempt, published once the guard allows it.

    Deltas are taken at any time, so that the provider is read, and its silence timed, as without a guard. While any
    is held back, a task publishes them in order; otherwise each is published within `push`.
    """

    def __init__(self, gate: _Gate, published: Published, metrics: GuardMetrics, keep_bytes: int = 0) -> None:
        """`keep_bytes`: how much of the provider's output is kept in memory."""
        self._gate = gate
        self._published = published
        self._metrics = metrics
        self._keep_bytes = keep_bytes
        self.kept: list[ChunkDelta] = []
        """What the provider sent, published or not, from the first delta on."""
        self.content_bytes = 0
        """Bytes that the model wrote, published or not."""
        self.first_output_s: float | None = None
        """When the first delta was published, on the loop's clock."""
        self._taken_bytes = 0
        self._held: deque[ChunkDelta] = deque()
        self._held_since_s: float | None = None
        self._release: asyncio.Task[None] | None = None

    @property
    def bytes_out(self) -> int:
        """Bytes of text and choices published."""
        return self._published.bytes_out

    async def push(self, piece: ChunkDelta) -> None:
        """Raises ProviderFailure when the answer exceeds its size limit, and Refused."""
        self._count(piece)
        if self._release is None and self._gate.is_open:
            await self._publish(piece)
            return
        self._held.append(piece)
        if self._release is None:
            self._held_since_s = loop_now_s()
            self._release = asyncio.create_task(self._release_held())
        elif self._release.done():
            self._release.result()

    async def end(self) -> None:
        """Wait until all output may be published, and publish it. Raises Refused."""
        await self._gate.allowed()
        if self._release is not None:
            await self._release
        await self._published.end()

    def drop(self) -> None:
        """Discard what is held back, when the attempt is over."""
        if self._release is not None and not self._release.cancel() and not self._release.cancelled():
            self._release.exception()  # the attempt has ended by another error
        self._held.clear()
        self._published.drop()

    def _count(self, piece: ChunkDelta) -> None:
        size = answer_bytes(piece.text, piece.choices)
        if self._taken_bytes < self._keep_bytes:
            self.kept.append(piece)
        self._taken_bytes += size
        self.content_bytes += (
            size if not piece.choices else answer_bytes(piece.text) + sum(map(content_bytes, piece.choices))
        )
        if self._taken_bytes > STREAM_BYTES:
            raise oversized("the streamed answer", STREAM_BYTES)

    async def _release_held(self) -> None:
        try:
            await self._gate.allowed()
        except Refused:
            return  # the guard ends the attempt
        if self._held_since_s is not None:
            self._metrics.held_back.observe(loop_now_s() - self._held_since_s)
        while self._held:
            await self._publish(self._held.popleft())
        self._release = None

    async def _publish(self, piece: ChunkDelta) -> None:
        if self.first_output_s is None:
            self.first_output_s = loop_now_s()
        await self._published.push(piece)
