"""Publishing what must not be lost: stored by JetStream, acknowledged, repeated under one id until it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

import nats.errors
from nats.js import JetStreamContext
from nats.js.errors import APIError, NoStreamResponseError

from penstock.clock import loop_now_s
from schemas.headers import MESSAGE_ID, REPEATED

__all__ = ["WRONG_LAST_SEQUENCE", "StreamFull", "store"]

_log: Final = logging.getLogger(__name__)
WRONG_LAST_SEQUENCE: Final = 10071
"""JetStream error code: the subject's last message is another one than the publisher expected."""
_FIRST_WAIT_S: Final = 0.05
_LONGEST_WAIT_S: Final = 1.0
_ACK_TIMEOUT_S: Final = 2.0
"""An acknowledgement lost with its connection is waited for this long before the message is repeated."""
_SHORTEST_TIMEOUT_S: Final = 0.25
_PASSING: Final = (
    nats.errors.TimeoutError,
    nats.errors.NoRespondersError,
    nats.errors.OutboundBufferLimitError,
    NoStreamResponseError,
)
_IN_PROCESS: Final = 10158
"""JetStream error code: a cluster has a message of this id in hand, and does not know yet whether it will be stored."""
_STREAM_FULL: Final = frozenset({10077, 10047})
"""JetStream error codes: a stream limit is reached with `discard: new`; no storage left."""


class StreamFull(Exception):
    """The stream has reached its bound and refuses new messages."""


async def store(
    js: JetStreamContext,
    subject: str,
    payload: bytes,
    *,
    message_id: str,
    headers: Mapping[str, str] | None = None,
    patience_s: float = 60.0,
) -> bool:
    """Publish until JetStream acknowledges, at most for `patience_s`. Repeating is safe: one id, one message.

    Returns False when the stream held a message of this id already. Raises StreamFull at the stream's bound,
    and the last nats error when patience is over.
    """
    sent = {**(headers or {}), MESSAGE_ID: message_id}
    wait_s = _FIRST_WAIT_S
    give_up_s = loop_now_s() + patience_s
    while True:
        try:
            timeout_s = min(_ACK_TIMEOUT_S, max(_SHORTEST_TIMEOUT_S, give_up_s - loop_now_s()))
            ack = await js.publish(subject, payload, timeout=timeout_s, headers=sent)
        except APIError as error:
            if error.err_code in _STREAM_FULL:
                raise StreamFull(str(error.description)) from error
            passes = error.err_code == _IN_PROCESS or (error.code or 0) >= 500
            if not passes or loop_now_s() > give_up_s:
                raise
            _log.warning("JetStream could not store on %s: %s", subject, error.description)
        except _PASSING as error:
            if loop_now_s() > give_up_s:
                raise
            _log.warning("no acknowledgement for %s yet (%s)", subject, type(error).__name__)
        else:
            return not ack.duplicate
        sent[REPEATED] = "1"
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
