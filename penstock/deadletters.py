"""Burying what cannot be done: the original message, with the reason in its headers."""

from __future__ import annotations

from typing import Final

from nats.js import JetStreamContext

from penstock.delivery import Dead, Delivery
from penstock.storing import store
from schemas import headers, subjects
from schemas.streams import MAX_PAYLOAD_BYTES

__all__ = ["bury"]

_ROOM_FOR_HEADERS: Final = 16 * 1024
_KEPT: Final = (headers.REPLY_SUBJECT, headers.TRACEPARENT, headers.CLIENT)


async def bury(js: JetStreamContext, role: str, delivery: Delivery, dead: Dead) -> None:
    """Store `delivery` among the dead letters of `role`. Raises what `store` raises; burying twice stores once.

    A body at the very limit of a message is cut to leave room for the headers, and a header says so.
    """
    limit = MAX_PAYLOAD_BYTES - _ROOM_FOR_HEADERS
    described = {name: _one_line(value) for name in _KEPT if (value := delivery.headers.get(name))}
    described |= {
        headers.DEAD_REASON: dead.code,
        headers.DEAD_MESSAGE: _one_line(dead.message),
        headers.DEAD_SUBJECT: delivery.subject,
        headers.DEAD_DELIVERIES: str(delivery.number),
    }
    if len(delivery.data) > limit:
        described[headers.DEAD_TRUNCATED] = str(len(delivery.data))
    await store(
        js,
        subjects.dead(role),
        delivery.data[:limit],
        message_id=f"dead.{delivery.subject}.{delivery.sequence}",
        headers=described,
    )


def _one_line(text: str) -> str:
    """A header value: printable ASCII, bounded, no line ends."""
    return " ".join(text.split())[:500].encode("ascii", "backslashreplace").decode()
