"""The bytes in `LLM_REPLIES` now, read from the server."""

from __future__ import annotations

from typing import Final

import nats.errors
from nats.aio.client import Client as Nats

from penstock.bus.direct_get import stream_position
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.streams import REPLIES

__all__ = ["read_stream_size"]

_log: Final = rate_limited_logger(__name__)


async def read_stream_size(nc: Nats) -> int | None:
    """None while the stream has no leader.

    Read anew each time: within 50 ms several replies of 1 MiB can begin and end, which an older figure does not have.
    """
    try:
        return (await stream_position(nc, REPLIES.name)).bytes
    except (nats.errors.Error, TimeoutError) as error:
        _log.warning("the size of %s cannot be read now: %r", REPLIES.name, error)
        return None
