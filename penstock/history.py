"""The stored events of one reply."""

from __future__ import annotations

import logging
from typing import Final

import msgspec
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.direct import read_page
from schemas import codec
from schemas.reply import ReplyEvent
from schemas.streams import REPLIES

__all__ = ["read_event", "stored_replies"]

_log: Final = logging.getLogger(__name__)


def read_event(msg: Msg) -> ReplyEvent | None:
    """The event in `msg`; None, and a line in the log, when somebody published there what is none."""
    try:
        return codec.REPLY.decode(msg.data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        _log.warning("%s holds what is no reply event: %s", msg.subject, error)
        return None


async def stored_replies(nc: Nats, subject: str) -> list[ReplyEvent]:
    """The events stored for one request, in the order in which they were stored.

    Raises nats.errors.Error or TimeoutError when the stream does not answer.
    """
    events: list[ReplyEvent] = []
    sequence = 1
    while True:
        page = await read_page(nc, REPLIES.name, subject, sequence=sequence)
        events += [event for msg in page.messages if (event := read_event(msg)) is not None]
        if not page.messages or page.pending == 0:
            return events
        sequence = page.next_sequence
