"""Whether JetStream dropped a request because another sender published a message with its id."""

from __future__ import annotations

import asyncio
from typing import Final

import nats.errors
from nats.aio.client import Client as Nats

from penstock.bus.direct_get import last_sequence
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.retry import read_from_leader
from penstock.contract.intake.subjects import published_request
from penstock.contract.streams import REQUESTS

__all__ = ["is_id_taken"]

_log: Final = rate_limited_logger(__name__)
_READ_S: Final = 2.0
_ON_THE_WAY_S: Final = 0.5
"""Seconds in which the first event of a request is stored that a router has just taken."""


async def is_id_taken(nc: Nats, sequence: int, subject: str, traces: dict[str, str]) -> bool:
    """Whether the message at `sequence` of LLM_REQUESTS, which has the id of a request, was published elsewhere than on
    `subject`.

    A request that was sent before waits in the stream, or has left something: `traces` are the subjects of its reply
    and of its job, by stream. False, and a log line, where that cannot be read.
    """
    js, what = nc.jetstream(), f"message {sequence} of {REQUESTS.name}"
    try:
        for wait_s in (_ON_THE_WAY_S, 0.0):
            holder = await read_from_leader(
                lambda: js.get_msg(REQUESTS.name, sequence), what, timeout_s=_READ_S
            )
            if holder is not None:
                return published_request(holder.subject or "") != subject
            for stream, trace in traces.items():
                if await last_sequence(nc, stream, trace):
                    return False
            await asyncio.sleep(wait_s)
    except (nats.errors.Error, TimeoutError) as error:
        _log.warning("it is not known who sent message %d of %s: %r", sequence, REQUESTS.name, error)
        return False
    return True
