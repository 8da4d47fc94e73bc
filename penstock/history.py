"""Stored reply events, read by batched direct get: one request, many answers (ADR-31)."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import msgspec
import nats.errors
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from schemas import codec
from schemas.reply import ReplyEvent
from schemas.streams import REPLIES

__all__ = ["read_event", "stored_replies"]

_log: Final = logging.getLogger(__name__)

_DIRECT_GET: Final = f"$JS.API.DIRECT.GET.{REPLIES.name}"
_BATCH: Final = 500
_TIMEOUT_S: Final = 5.0


def read_event(msg: Msg) -> ReplyEvent | None:
    """The event in `msg`; None, and a line in the log, when somebody published there what is none."""
    try:
        return codec.REPLY.decode(msg.data)
    except msgspec.MsgspecError as error:
        _log.warning("%s holds what is no reply event: %s", msg.subject, error)
        return None


async def stored_replies(nc: Nats, subject: str, after_seq: int = -1) -> list[ReplyEvent]:
    """The events stored for one request whose `seq` is above `after_seq`, as they were stored.

    Raises nats.errors.Error or TimeoutError when the stream does not answer.
    """
    events: list[ReplyEvent] = []
    position = 1
    while True:
        batch, pending = await _batch(nc, subject, position)
        for msg in batch:
            event = read_event(msg)
            if event is not None and event.seq > after_seq:
                events.append(event)
        if not batch or pending == 0:
            return events
        position = int((batch[-1].headers or {})["Nats-Sequence"]) + 1


async def _batch(nc: Nats, subject: str, position: int) -> tuple[list[Msg], int]:
    """Up to `_BATCH` messages from stream sequence `position` on, and how many more there are."""
    inbox = nc.new_inbox()
    answers: asyncio.Queue[Msg] = asyncio.Queue()
    subscription = await nc.subscribe(inbox, cb=answers.put)
    found: list[Msg] = []
    try:
        wish = msgspec.json.encode({"seq": position, "next_by_subj": subject, "batch": _BATCH})
        await nc.publish(_DIRECT_GET, wish, reply=inbox)
        while True:
            async with asyncio.timeout(_TIMEOUT_S):
                msg = await answers.get()
            headers = msg.headers or {}
            match headers.get("Status"):
                case None:
                    found.append(msg)
                case "404":
                    return found, 0
                case "204":
                    return found, int(headers.get("Nats-Num-Pending", "0"))
                case "503":
                    raise nats.errors.NoRespondersError
                case status:
                    raise nats.errors.Error(f"{status} {headers.get('Description', '')}")
    finally:
        await subscription.unsubscribe()
