"""The stored events of one reply."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
import nats.errors
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.bus.clock import loop_now_s
from penstock.bus.direct_get import last_sequence, read_page, sequence_of
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract import codec
from penstock.contract.reply import ReplyEvent
from penstock.contract.streams import REPLIES

__all__ = ["read_event", "settled", "settled_replies", "stored_replies"]

_log: Final = rate_limited_logger(__name__)
_LOOK_AGAIN_S: Final = 0.05
_LONGEST_WAIT_S: Final = 1.0
_PATIENCE_S: Final = 20.0
"""Twice what a cluster needs to elect the leader of a stream (docs/decisions/0017)."""


def read_event(msg: Msg) -> ReplyEvent | None:
    """The event in `msg`; None, and a line in the log, when somebody published there what is none."""
    try:
        return codec.REPLY.decode(msg.data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        _log.warning("%s holds what is no reply event: %s", msg.subject, error)
        return None


async def stored_replies(nc: Nats, subject: str) -> list[ReplyEvent]:
    """The events stored for one request, in the order in which they were stored.

    In a cluster any node answers, and one may not have yet what another acknowledged a moment ago: right for a reader,
    who looks again. Who decides by it asks `settled_replies`. Raises nats.errors.Error or TimeoutError when the stream
    does not answer.
    """
    return _events(await _read(nc, subject))


async def settled_replies(nc: Nats, subject: str, patience_s: float = _PATIENCE_S) -> list[ReplyEvent]:
    """The same, with everything that was acknowledged before the question.

    Waits while nobody leads the stream, or the node that answers lags behind the one that does. Raises what
    `stored_replies` raises when patience is over.
    """
    return (await settled(nc, subject, patience_s))[0]


async def settled(nc: Nats, subject: str, patience_s: float = _PATIENCE_S) -> tuple[list[ReplyEvent], int]:
    """`settled_replies`, and the stream sequence of the last message; 0: there is none."""
    give_up_s = loop_now_s() + patience_s
    wait_s = _LOOK_AGAIN_S
    while True:
        try:
            wanted = await last_sequence(nc, REPLIES.name, subject)
            found = await _read(nc, subject)
        except (nats.errors.Error, TimeoutError) as error:
            if loop_now_s() > give_up_s:
                raise
            _log.warning("the stored replies cannot be read yet: %r", error)
        else:
            if wanted == 0 or (found and sequence_of(found[-1]) >= wanted):
                return _events(found), sequence_of(found[-1]) if found else 0
            if loop_now_s() > give_up_s:
                raise TimeoutError(f"{REPLIES.name}: no node has message {wanted}")
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


async def _read(nc: Nats, subject: str) -> list[Msg]:
    found: list[Msg] = []
    sequence = 1
    while True:
        page = await read_page(nc, REPLIES.name, subject, sequence=sequence)
        found += page.messages
        if not page.messages or page.pending == 0:
            return found
        sequence = page.next_sequence


def _events(messages: list[Msg]) -> list[ReplyEvent]:
    return [event for msg in messages if (event := read_event(msg)) is not None]
