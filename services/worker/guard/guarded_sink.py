"""The output of one attempt: held back until the input is allowed, without what the policy redacts, and moderated."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

from penstock.bus.clock import loop_now_s
from penstock.contract.reply import GuardedContent, answer_bytes
from services.worker.guard.guard_checks import Refused
from services.worker.guard.metrics import RequestGuardMetrics
from services.worker.guard.output_filter import Item, OutputFilter
from services.worker.guard.output_permission import OutputPermission
from services.worker.providers.size_limits import SHORTER, STREAM_BYTES, oversized
from services.worker.providers.streams.choices import content_bytes
from services.worker.providers.streams.chunks import ChunkDelta

__all__ = ["GuardedSink", "Published"]

_MOST_HELD_BYTES: Final = 256 * 1024
"""Bytes of an answer that are taken while some wait for the guard. The provider is not read beyond them until all are
published: a guard that is busy slows the answer down."""
_CHECK_CHARACTERS: Final = 128 * 1024
"""Characters of one check. Numbers throughout are about 1,000 texts with their context, and take 0.2 s: what was
checked is published soon, and checks of other streams wait for a short one."""


class Published(Protocol):
    """Publishes deltas; a DeltaSink."""

    @property
    def bytes_out(self) -> int: ...

    def take_room(self, size: int) -> bool: ...

    async def wait_for_room(self, size: int) -> None: ...

    async def push(self, piece: ChunkDelta) -> None: ...

    async def end(self) -> None: ...

    def drop(self) -> None: ...


class GuardedSink:
    """Publishes output once the guard allows it.

    `push` waits for no check, so that the silence of the provider is timed as without a guard. While any delta is held
    back, a task publishes them in order; otherwise each is published within `push`. There is no room for more deltas
    while _MOST_HELD_BYTES are held back.
    """

    def __init__(
        self,
        permission: OutputPermission,
        published: Published,
        output_filter: OutputFilter | None,
        metrics: RequestGuardMetrics,
        keep_bytes: int = 0,
    ) -> None:
        """`output_filter`: None publishes deltas as they are. `keep_bytes`: how much of the provider's output is kept
        in memory.
        """
        self._permission = permission
        self._published = published
        self._filter = output_filter
        self._metrics = metrics
        self._keep_bytes = keep_bytes
        self.kept: list[ChunkDelta] = []
        """What the provider sent, published or not, from the first delta on."""
        self.content_bytes = 0
        """Bytes that the model wrote, published or not."""
        self.first_output_s: float | None = None
        """When the first delta was published, on the loop's clock."""
        self._taken_bytes = 0
        self._waiting: deque[Item | ChunkDelta] = deque()
        """What is held back, in order."""
        self._held_since_s: float | None = None
        """Since when output has waited for the verdict on the input."""
        self._release: asyncio.Task[None] | None = None
        """Publishes what waits; None while nothing does."""
        self._held_bytes = 0
        """Bytes taken since that task began."""

    @property
    def bytes_out(self) -> int:
        """Bytes of text and choices published."""
        return self._published.bytes_out

    def take_room(self, size: int) -> bool:
        return self._may_hold(size) and self._published.take_room(size)

    async def wait_for_room(self, size: int) -> None:
        if self._release is not None and not self._may_hold(size):
            await asyncio.wait([self._release])
        if not self._published.take_room(size):
            await self._published.wait_for_room(size)

    async def push(self, piece: ChunkDelta) -> None:
        """Raises ProviderFailure when the answer exceeds its size limit, and WireError for a choice without sense."""
        self._count(piece)
        for item in (piece,) if self._filter is None else self._filter.take(piece):
            await self._pass_on(item)

    async def end(self) -> None:
        """Wait until all output may be published, and publish it. Raises Refused."""
        if self._filter is not None:
            for item in self._filter.rest():
                await self._pass_on(item)
        await self._permission.wait()
        if self._release is not None:
            await self._release
        await self._published.end()
        if self._filter is not None:
            await self._filter.end()
        await self._permission.wait()

    def drop(self) -> None:
        """Discard what is held back, when the attempt is over."""
        if self._release is not None and not self._release.cancel() and not self._release.cancelled():
            self._release.exception()  # the attempt has ended by another error
        self._waiting.clear()
        if self._filter is not None:
            self._filter.drop()
        self._published.drop()

    def guarded(self) -> tuple[GuardedContent, ...]:
        """What was found in the output, and passed or was replaced."""
        return () if self._filter is None else self._filter.guarded()

    def _count(self, piece: ChunkDelta) -> None:
        size = answer_bytes(piece.text, piece.choices)
        if self._taken_bytes < self._keep_bytes:
            self.kept.append(piece)
        self._taken_bytes += size
        self._held_bytes += size
        self.content_bytes += (
            size if not piece.choices else answer_bytes(piece.text) + sum(map(content_bytes, piece.choices))
        )
        if self._taken_bytes > STREAM_BYTES:
            raise oversized("the streamed answer", STREAM_BYTES, SHORTER)

    def _may_hold(self, size: int) -> bool:
        return self._release is None or self._release.done() or self._held_bytes + size <= _MOST_HELD_BYTES

    async def _pass_on(self, item: Item | ChunkDelta) -> None:
        """Publish what is next now, or leave it to the task that does."""
        if self._release is None and self._permission.granted and not _is_suspicious(item):
            await self._publish(item)
            return
        self._waiting.append(item)
        if self._release is None:
            if not self._permission.granted:
                self._held_since_s = loop_now_s()
            self._held_bytes = 0
            self._release = asyncio.create_task(self._release_waiting())
        elif self._release.done():
            self._release.result()

    async def _release_waiting(self) -> None:
        try:
            await self._permission.wait()
            if self._held_since_s is not None:
                self._metrics.held_back.observe(loop_now_s() - self._held_since_s)
                self._held_since_s = None
            while self._waiting:
                if self._filter is not None and _is_suspicious(self._waiting[0]):
                    await self._check_waiting(self._filter)
                await self._publish(self._waiting.popleft())
        except Refused as refused:
            self._permission.refuse(refused)
        else:
            self._release = None

    async def _check_waiting(self, output_filter: OutputFilter) -> None:
        """Ask the guard about the first that wait, as much as one check takes."""
        items, characters = list[Item](), 0
        for each in self._waiting:
            if isinstance(each, Item):
                characters += each.checked_characters
                if items and characters > _CHECK_CHARACTERS:
                    break
                items.append(each)
        for index, checked in enumerate(await output_filter.check(items)):
            self._waiting[index] = checked

    async def _publish(self, item: Item | ChunkDelta) -> None:
        delta = self._filter.shown(item) if isinstance(item, Item) and self._filter is not None else item
        if isinstance(delta, ChunkDelta):
            if self.first_output_s is None:
                self.first_output_s = loop_now_s()
            await self._published.push(delta)


def _is_suspicious(item: Item | ChunkDelta) -> bool:
    return isinstance(item, Item) and item.suspicious
