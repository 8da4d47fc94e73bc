"""Server-sent events as bytes (HTML Living Standard, 9.2), and their ids."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from services.edge.dialects.dialect import SseEvent

__all__ = ["Position", "comment", "encode_event", "encode_ping", "event_id", "parse_position"]

_POSITION: Final = re.compile(r"([0-9]{1,9})(?:-([0-9a-f]{8}))?")


class Position(Struct, frozen=True):
    """The id of an event."""

    number: int
    """From 0."""
    digest: int | None
    """The checksum of the answer up to this event; None: the client sent the number alone."""
    text: str
    """As the client sent it."""


def parse_position(text: str) -> Position | None:
    """None for a text that is not the id of an event."""
    match = _POSITION.fullmatch(text)
    if match is None:
        return None
    return Position(int(match[1]), None if match[2] is None else int(match[2], 16), text)


def event_id(number: int, digest: int) -> bytes:
    return b"%d-%08x" % (number, digest)


def encode_event(event: SseEvent, event_id: bytes) -> bytes:
    """An empty id stands for the position of a client that has no event."""
    if event.event:
        return b"id: %s\nevent: %s\ndata: %s\n\n" % (event_id, event.event.encode(), event.data)
    return b"id: %s\ndata: %s\n\n" % (event_id, event.data)


def encode_ping(event: SseEvent) -> bytes:
    """Without an id: it has no place in the order of events, and a resumed stream lacks it."""
    return b"event: %s\ndata: %s\n\n" % (event.event.encode(), event.data)


def comment(text: str) -> bytes:
    """A line that clients ignore."""
    return b": %s\n\n" % text.encode()
