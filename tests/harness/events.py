"""The stored facts of a system under test."""

from __future__ import annotations

from typing import TypeVar

import nats

from penstock.direct import read_page
from schemas import codec
from schemas.events import Event
from schemas.streams import EVENTS
from tests.harness.system import System

__all__ = ["stored_events"]

Kind = TypeVar("Kind", bound=Event)


async def stored_events(system: System, kind: type[Kind]) -> list[Kind]:
    """All events of one kind in `LLM_EVENTS`, oldest first."""
    nc = await nats.connect(system.nats.url)
    try:
        found: list[Kind] = []
        sequence = 1
        while True:
            page = await read_page(nc, EVENTS.name, EVENTS.subjects[0], sequence=sequence)
            events = [codec.EVENT.decode(msg.data) for msg in page.messages]
            found += [event for event in events if isinstance(event, kind)]
            if not page.messages or page.pending == 0:
                return found
            sequence = page.next_sequence
    finally:
        await nc.close()
