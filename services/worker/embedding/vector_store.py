"""The vectors in the stream LLM_EMBEDDINGS, which all workers share: read many at once, written behind the replies.

Nothing here fails a request: a vector that cannot be read is embedded again, and one that cannot be stored is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import nats.errors
from msgspec import Struct
from nats.aio.client import Client as Nats

from penstock.bus.clock import loop_now_s
from penstock.bus.direct_get import LastReader
from penstock.bus.freezes import AwakeTimeout
from penstock.bus.jetstream_answers import decode_ack
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.wire.sending import publish_all
from penstock.contract.retrieval import subjects
from penstock.contract.streams import EMBEDDINGS
from penstock.runtime.aio import CriticalLoop
from penstock.runtime.retrieval.vectors import has_direction
from services.worker.embedding.metrics import EmbeddingMetrics

__all__ = ["VectorStore"]

_log: Final = rate_limited_logger(__name__)
_SUBJECT: Final = subjects.embedding("")
"""What stands before the key in a subject."""
_KEYS_AT_ONCE: Final = 1_000
"""Subjects of one read; the server takes 1,024 (ADR-31)."""
_READS: Final = 2
"""Reads at once. Keys that are looked up meanwhile are read together afterwards."""
_READ_S: Final = 1.0
"""Seconds for which a request waits for stored vectors."""
_AWAY_S: Final = 2.0
"""Seconds after a failure in which nothing is read, so that no request waits for a store that does not answer."""
_WRITE_BYTES: Final = 512 * 1024
"""Bytes that are sent before the acknowledgement of the last of them: what is behind them on the connection waits."""
_WRITE_MESSAGES: Final = 256
_UNWRITTEN_BYTES: Final = 32 * 1024 * 1024
"""Bytes that wait to be written; further vectors are not stored."""
_ACK_S: Final = 2.0


class _Lookup(Struct, frozen=True):
    keys: Sequence[str]
    found: asyncio.Future[bool]
    """Whether the stream could be read."""
    entries: dict[str, tuple[int, bytes]]


class VectorStore:
    def __init__(self, nc: Nats, metrics: EmbeddingMetrics) -> None:
        self._nc = nc
        self._errors = metrics.store_errors
        self._lookups: deque[_Lookup] = deque()
        self._reading: set[asyncio.Task[None]] = set()
        self._idle_readers: list[LastReader] = []
        self._away_until_s = 0.0
        self._unwritten: deque[tuple[str, bytes]] = deque()
        self._unwritten_bytes = 0
        self._has_unwritten = asyncio.Event()
        self._all_written = asyncio.Event()
        self._all_written.set()
        self._writer = CriticalLoop("stored vectors")

    def start(self) -> None:
        self._writer.start(self._write())

    async def stop(self) -> None:
        """Write what waits, for a moment; then end."""
        if self._nc.is_connected:
            with contextlib.suppress(TimeoutError):
                async with AwakeTimeout(_ACK_S):
                    await self._all_written.wait()
        await self._writer.stop()
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)

    async def get(self, keys: Sequence[str], size: int) -> Mapping[str, bytes]:
        """The stored vectors of these keys that have `size` bytes and a direction."""
        entries = await self.entries(keys) or {}
        return {key: data for key, (_, data) in entries.items() if len(data) == size and has_direction(data)}

    async def entries(self, keys: Sequence[str]) -> Mapping[str, tuple[int, bytes]] | None:
        """The last message of each of these keys, a vector or a claim, with its stream sequence; None: it cannot be
        read.
        """
        if not keys or loop_now_s() < self._away_until_s or not self._nc.is_connected:
            return None
        entries: dict[str, tuple[int, bytes]] = {}
        parts = [
            _Lookup(keys[at : at + _KEYS_AT_ONCE], asyncio.get_running_loop().create_future(), entries)
            for at in range(0, len(keys), _KEYS_AT_ONCE)
        ]
        self._lookups += parts
        self._read_soon()
        read = [await part.found for part in parts]
        return entries if all(read) else None

    def put(self, key: str, vector: bytes) -> None:
        """Have the vector stored, soon."""
        if self._unwritten_bytes + len(vector) > _UNWRITTEN_BYTES:
            self._errors.inc()
            return
        self._unwritten.append((key, vector))
        self._unwritten_bytes += len(vector)
        self._all_written.clear()
        self._has_unwritten.set()

    def _read_soon(self) -> None:
        if self._lookups and len(self._reading) < _READS:
            task = asyncio.create_task(self._read())
            self._reading.add(task)
            task.add_done_callback(self._read_ended)

    def _read_ended(self, task: asyncio.Task[None]) -> None:
        self._reading.discard(task)
        self._read_soon()

    async def _read(self) -> None:
        await asyncio.sleep(0)  # what other requests look up in this turn of the loop is read together
        taken = self._take()
        if not taken:
            return
        read = False
        try:
            await self._read_into(taken)
            read = True
        except (nats.errors.Error, TimeoutError) as error:
            self._errors.inc()
            self._away_until_s = loop_now_s() + _AWAY_S
            _log.warning("stored vectors cannot be read now, so texts are embedded again: %r", error)
        finally:
            for lookup in taken:
                if not lookup.found.done():
                    lookup.found.set_result(read)

    def _take(self) -> list[_Lookup]:
        taken: list[_Lookup] = []
        count = 0
        while self._lookups and count + len(self._lookups[0].keys) <= _KEYS_AT_ONCE:
            lookup = self._lookups.popleft()
            if not lookup.found.done():
                taken.append(lookup)
                count += len(lookup.keys)
        return taken

    async def _read_into(self, lookups: list[_Lookup]) -> None:
        wanted: dict[str, list[_Lookup]] = {}
        for lookup in lookups:
            for key in lookup.keys:
                wanted.setdefault(key, []).append(lookup)
        reader = self._idle_readers.pop() if self._idle_readers else LastReader(self._nc, EMBEDDINGS.name)
        try:
            async with AwakeTimeout(_READ_S):
                messages = await reader.read([_SUBJECT + key for key in wanted])
        except BaseException:
            await reader.close()  # its answer may still come
            raise
        self._idle_readers.append(reader)
        for subject, sequence, data in messages:
            key = subject[len(_SUBJECT) :]
            for lookup in wanted.get(key, ()):
                lookup.entries[key] = sequence, data

    async def _write(self) -> None:
        while True:
            await self._has_unwritten.wait()
            self._has_unwritten.clear()
            while self._unwritten:
                await self._write_or_count()
            self._all_written.set()

    async def _write_or_count(self) -> None:
        if not self._nc.is_connected:
            self._errors.inc()
            await asyncio.sleep(_AWAY_S)
            return
        messages = self._next_messages()
        try:
            await self._publish(messages)
        except (nats.errors.Error, TimeoutError, msgspec.MsgspecError) as error:
            self._errors.inc(len(messages))
            _log.warning("%d vectors are not stored: %r", len(messages), error)
            await asyncio.sleep(_AWAY_S)

    def _next_messages(self) -> list[tuple[str, bytes]]:
        messages: list[tuple[str, bytes]] = []
        size = 0
        while self._unwritten and size < _WRITE_BYTES and len(messages) < _WRITE_MESSAGES:
            key, vector = self._unwritten.popleft()
            messages.append((_SUBJECT + key, vector))
            size += len(vector)
        self._unwritten_bytes -= size
        return messages

    async def _publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Wait until the last message is stored. Raises nats errors, TimeoutError and MsgspecError."""
        *before, (last, vector) = messages
        await publish_all(self._nc, before)
        ack = decode_ack((await self._nc.request(last, vector, timeout=_ACK_S)).data)
        if ack.error is not None or not ack.seq:
            description = "no sequence" if ack.error is None else ack.error.description
            raise nats.errors.Error(f"{EMBEDDINGS.name}: {description}")
