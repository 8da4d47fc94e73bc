"""Publishing what must not be lost: stored by JetStream, acknowledged, repeated under one id until it is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import nats.errors
from nats.js import JetStreamContext
from nats.js.errors import APIError, NoStreamResponseError

from penstock.bus.clock import loop_now_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.headers import MESSAGE_ID, REPEATED
from penstock.contract.streams import STREAMS

__all__ = ["WRONG_LAST_SEQUENCE", "StreamFull", "store", "what_to_check"]

_log: Final = rate_limited_logger(__name__)
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
            _log.warning(
                "JetStream could not store a message for %s yet (%s); trying again. %s",
                _stream_of(subject),
                error.description,
                what_to_check(subject, error),
            )
        except _PASSING as error:
            if loop_now_s() > give_up_s:
                raise
            _log.warning(
                "no acknowledgement from %s yet (%s); sending again. %s",
                _stream_of(subject),
                type(error).__name__,
                what_to_check(subject, error),
            )
        else:
            return not ack.duplicate
        sent[REPEATED] = "1"
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, _LONGEST_WAIT_S)


def what_to_check(subject: str, error: Exception) -> str:
    """A sentence for the operator: why JetStream may not acknowledge a message on `subject`."""
    stream = _stream_of(subject)
    if isinstance(error, NoStreamResponseError | nats.errors.NoRespondersError):
        return (
            f"Check that this NATS server has JetStream enabled and the stream {stream}, which a router, a worker or "
            "`penstock up` creates at its start."
        )
    if isinstance(error, nats.errors.OutboundBufferLimitError):
        return "Check that NATS is reachable: the connection is lost, and its buffer is full."
    if isinstance(error, APIError | StreamFull):
        return f"Check the disk and the JetStream limits of the NATS server: it cannot store in {stream} now."
    return (
        f"Check that NATS is reachable, that JetStream is enabled and has the stream {stream} (a router, a worker or "
        "`penstock up` creates it at its start), and that the server's disk is neither full nor slow."
    )


def _stream_of(subject: str) -> str:
    """The name of the stream that keeps `subject`, or `subject` where it is none of ours."""
    return next(
        (
            stream.name
            for stream in STREAMS
            if any(pattern.split(".")[:2] == subject.split(".")[:2] for pattern in stream.subjects)
        ),
        subject,
    )
