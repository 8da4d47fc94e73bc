"""The stored events of a system under test."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import nats

from penstock.bus.direct_get import read_all
from penstock.bus.server_address import servers_of
from penstock.contract import codec
from penstock.contract.events import Event, HoldReleased, UsageRecorded
from penstock.contract.streams import AUDIT, EVENTS
from tests.harness.processes.system import System

__all__ = ["stored_events", "usage_count"]

_QUIET_S = 0.5
Kind = TypeVar("Kind", bound=Event)


async def stored_events(system: System, kind: type[Kind]) -> list[Kind]:
    """All stored events of one kind, oldest first."""
    nc = await nats.connect(servers_of(system.nats.url))
    try:
        stream = EVENTS if issubclass(kind, UsageRecorded | HoldReleased) else AUDIT
        messages = [msg async for msg in read_all(nc, stream.name, stream.subjects[0])]
        events = [codec.EVENT.decode(msg.data) for msg in messages]
        return [event for event in events if isinstance(event, kind)]
    finally:
        await nc.close()


async def usage_count(system: System, request_ids: set[str]) -> int:
    """The number of recorded provider attempts of these requests, once it no longer changes.

    The last usage event of a request may be stored later than its terminal event.
    """
    count = -1
    while (seen := await _usage_count_now(system, request_ids)) != count:
        count = seen
        await asyncio.sleep(_QUIET_S)
    return count


async def _usage_count_now(system: System, request_ids: set[str]) -> int:
    return sum(event.id in request_ids for event in await stored_events(system, UsageRecorded))
