"""Server-sent events as bytes (HTML Living Standard, 9.2)."""

from __future__ import annotations

from services.edge.dialects.dialect import SseEvent

__all__ = ["comment", "encode_event"]


def encode_event(event: SseEvent, number: int) -> bytes:
    """One event; its `id` is its number in the stream, from 0."""
    if event.event:
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, event.event.encode(), event.data)
    return b"id: %d\ndata: %s\n\n" % (number, event.data)


def comment(text: str) -> bytes:
    """A line that clients ignore."""
    return b": %s\n\n" % text.encode()
