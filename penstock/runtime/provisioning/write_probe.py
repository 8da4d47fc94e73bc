"""Whether the streams that a service writes to can be written: what its own messages meet, else a probe message."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import nats.errors
from nats.js import JetStreamContext
from nats.js.errors import APIError

from penstock.bus.connection import ConnectionEvents
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import what_to_check
from penstock.bus.write_check import StreamNotWritable, not_writable, store_probe
from penstock.contract.streams import StreamSpec
from penstock.runtime.periodic_loop import PeriodicLoop

__all__ = ["WriteProbe"]

_log: Final = rate_limited_logger(__name__)
_EVERY_S: Final = 3.0
_STOP_S: Final = 0.5


class WriteProbe:
    """Writes to a stream only if nothing was stored there since the last look, or a message was refused. So all
    processes together write about one message per idle stream and interval; it is deleted at once.
    """

    def __init__(
        self, js: JetStreamContext, streams: Sequence[StreamSpec], busy: Sequence[StreamSpec]
    ) -> None:
        """`busy`: probed only after a refused message, because readers count what leaves the stream."""
        self._js = js
        self._idle = frozenset(stream.name for stream in streams)
        self._subjects = {stream.name: stream.probe_subject for stream in (*streams, *busy)}
        self._seen: dict[str, int] = {}
        self._left = set(self._subjects)
        """Streams that may hold a probe message: of a process that was killed, or whose acknowledgement was lost."""
        self._loop = PeriodicLoop("the write probe", _EVERY_S, self.probe)

    def start(self, events: ConnectionEvents) -> None:
        """Probe every few seconds, and after a reconnection: the server may have been restarted to write again."""
        self._loop.start(events)

    async def stop(self) -> None:
        await self._loop.stop()
        with suppress(
            nats.errors.Error, APIError, TimeoutError
        ):  # else the next process deletes what is left
            async with asyncio.timeout(_STOP_S):
                await asyncio.gather(*map(self._delete_left, tuple(self._left)))

    @property
    def not_writable(self) -> list[str]:
        """The names of the needed streams whose last message the server could not write."""
        return sorted(self._subjects.keys() & not_writable(self._js))

    async def probe(self) -> None:
        """Raises nats errors while JetStream does not answer, or lacks a stream."""
        await asyncio.gather(*map(self._probe, self._idle | self._left | set(self.not_writable)))

    async def _delete_left(self, stream: str) -> None:
        """No consumer takes a probe message, so one that is left would be the first of its stream for days."""
        await self._js.purge_stream(stream, subject=self._subjects[stream])
        self._left.discard(stream)

    async def _probe(self, stream: str) -> None:
        if stream in self.not_writable or not await self._was_written(stream):
            self._left.add(stream)
            try:
                ack = await store_probe(self._js, stream, self._subjects[stream])
            except StreamNotWritable as error:
                _log.error("%s. %s", error, what_to_check(stream, error))
                return
            self._seen[stream] = ack.seq
        if stream in self._left:
            await self._delete_left(stream)

    async def _was_written(self, stream: str) -> bool:
        """Since the last look, or this is the first one."""
        last = (await self._js.stream_info(stream)).state.last_seq
        known, self._seen[stream] = self._seen.get(stream), last
        return last != known
