"""Processes agree on the unsampled traces that they export: each publishes its choice once a second."""

from __future__ import annotations

from typing import Final

import msgspec
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.bus.log_limits import rate_limited_logger
from penstock.contract import codec
from penstock.contract.traces.kept import TRACES_KEPT, TracesKept
from penstock.runtime.periodic_loop import PeriodicLoop
from penstock.runtime.telemetry.tail_buffer import TailBuffer

__all__ = ["KeptTraces"]

_log: Final = rate_limited_logger(__name__)
_EVERY_S: Final = 1.0


class KeptTraces:
    """Messages are not repeated: without NATS, the spans of other processes are lost."""

    def __init__(self, nc: Nats, buffer: TailBuffer) -> None:
        self._nc = nc
        self._buffer = buffer
        self._loop = PeriodicLoop("the choice of traces", _EVERY_S, self._publish)

    async def start(self) -> None:
        await self._nc.subscribe(TRACES_KEPT, cb=self._receive)
        self._loop.start()

    async def stop(self) -> None:
        """Publish the last choice."""
        await self._loop.stop()
        await self._loop.run_once()

    async def _publish(self) -> None:
        chosen = self._buffer.take_chosen()
        if chosen:
            await self._nc.publish(TRACES_KEPT, codec.encode(TracesKept(trace_ids=chosen)))

    async def _receive(self, msg: Msg) -> None:
        try:
            kept = codec.TRACES_KEPT.decode(msg.data)
        except msgspec.DecodeError as error:
            _log.warning("a message about traces cannot be read: %s", error)
            return
        self._buffer.keep(kept.trace_ids)
