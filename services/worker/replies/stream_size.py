"""The bytes in `LLM_REPLIES` now, read from the server."""

from __future__ import annotations

import asyncio
from typing import Final

import nats.errors
from nats.js.errors import APIError

from penstock.bus.direct_get import delete_message, stream_position
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.write_check import store_probe
from penstock.contract.streams import REPLIES
from penstock.runtime.service import Bus

__all__ = ["read_stream_size"]

_log: Final = rate_limited_logger(__name__)


async def read_stream_size(bus: Bus) -> int | None:
    """With everything that was published on this connection before. None while the stream has no leader, or stores
    nothing.

    The probe is acknowledged after everything sent before it on this connection is stored. Without it the size would
    lack what the server has received and not stored yet, up to 128 MiB.
    """
    try:
        ack = await store_probe(bus.js, REPLIES.name, REPLIES.probe_subject)
        position, _ = await asyncio.gather(
            stream_position(bus.nc, REPLIES.name),
            delete_message(bus.nc, REPLIES.name, ack.seq, erase=False),
        )
    except (nats.errors.Error, APIError, TimeoutError) as error:
        _log.warning("the size of %s cannot be read now: %r", REPLIES.name, error)
        return None
    return position.bytes
