"""Publish a message that must not be lost: repeated under one message id until JetStream acknowledges it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import nats.errors
from nats.js import JetStreamContext
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from penstock.bus.clock import loop_now_s
from penstock.bus.direct_get import NoSuchStream
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.retry import RetryPolicy, retry
from penstock.contract.headers import MESSAGE_ID, REPEATED
from penstock.contract.streams import STREAMS

__all__ = [
    "NOT_STORED",
    "STREAM_FULL",
    "WRONG_LAST_SEQUENCE",
    "Stored",
    "StreamFull",
    "store",
    "store_reported",
    "what_to_check",
]

_log: Final = rate_limited_logger(__name__)
WRONG_LAST_SEQUENCE: Final = 10071
"""JetStream error code: the subject's last message is not the one that the publisher expected."""
_DEFAULT: Final = RetryPolicy(timeout_s=60.0)
_ACK_TIMEOUT_S: Final = 2.0
"""Seconds to wait for an acknowledgement before the message is sent again: it may be lost with its connection."""
_SHORTEST_TIMEOUT_S: Final = 0.25
_RETRIED: Final = (
    APIError,
    nats.errors.TimeoutError,
    nats.errors.NoRespondersError,
    nats.errors.OutboundBufferLimitError,
    NoStreamResponseError,
)
_IN_PROCESS: Final = 10158
"""JetStream error code: a message with this id is in flight in the cluster and may still be stored."""
STREAM_FULL: Final = frozenset({10077, 10047})
"""JetStream error codes: a stream with `discard: new` has reached a limit; no storage is left."""


class StreamFull(Exception):
    """The stream has reached its limit and rejects new messages."""


NOT_STORED: Final = (nats.errors.Error, StreamFull, OSError)
"""What `store` raises where JetStream stored nothing, or did not say so, within the time for it."""


class Stored(NamedTuple):
    """The acknowledgement of JetStream."""

    new: bool
    """The stream did not hold a message with this id."""
    by_another: bool
    """It held one before this process sent it. False where the process sent it more than once, so that it may be its
    own.
    """


async def store(
    js: JetStreamContext,
    subject: str,
    payload: bytes,
    *,
    message_id: str,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = _DEFAULT.timeout_s,
) -> bool:
    """As `store_reported`; returns whether the message is new."""
    stored = await store_reported(
        js, subject, payload, message_id=message_id, headers=headers, timeout_s=timeout_s
    )
    return stored.new


async def store_reported(
    js: JetStreamContext,
    subject: str,
    payload: bytes,
    *,
    message_id: str,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = _DEFAULT.timeout_s,
) -> Stored:
    """Publish until JetStream acknowledges, for at most `timeout_s`. A repeated message has the same id and is stored
    once.

    Raises StreamFull at the stream's limit, and the last nats error after the timeout.
    """
    sent = {**(headers or {}), MESSAGE_ID: message_id}
    give_up_s = loop_now_s() + timeout_s
    sent_before = False

    async def publish() -> Stored:
        timeout_s = min(_ACK_TIMEOUT_S, max(_SHORTEST_TIMEOUT_S, give_up_s - loop_now_s()))
        ack = await js.publish(subject, payload, timeout=timeout_s, headers=sent)
        is_duplicate = bool(ack.duplicate)
        return Stored(not is_duplicate, is_duplicate and not sent_before)

    def report(error: Exception) -> None:
        nonlocal sent_before
        sent_before = True
        sent[REPEATED] = "1"
        if isinstance(error, APIError):
            _log.warning(
                "JetStream could not store a message for %s yet (%s); trying again. %s",
                _stream_of(subject),
                error.description,
                what_to_check(subject, error),
            )
        else:
            _log.warning(
                "no acknowledgement from %s yet (%s); sending again. %s",
                _stream_of(subject),
                type(error).__name__,
                what_to_check(subject, error),
            )

    try:
        return await retry(
            publish,
            on=_RETRIED,
            report=report,
            policy=_DEFAULT if timeout_s == _DEFAULT.timeout_s else RetryPolicy(timeout_s=timeout_s),
            transient=_is_transient,
        )
    except APIError as error:
        if error.err_code in STREAM_FULL:
            raise StreamFull(str(error.description)) from error
        raise


def _is_transient(error: Exception) -> bool:
    if not isinstance(error, APIError):
        return True
    if error.err_code in STREAM_FULL:
        return False
    return error.err_code == _IN_PROCESS or (error.code or 0) >= 500


def what_to_check(subject: str, error: Exception) -> str:
    """A sentence for the operator: why JetStream may neither store nor return a message.

    `subject`: one of the stream's, or the stream's name.
    """
    stream = _stream_of(subject)
    if isinstance(
        error, NoSuchStream | NoStreamResponseError | nats.errors.NoRespondersError | NotFoundError
    ):
        return (
            f"Check that this NATS server has JetStream enabled and the stream {stream}, which a router, a worker or "
            "`penstock up` creates at its start."
        )
    if isinstance(error, nats.errors.OutboundBufferLimitError):
        return "Check that NATS is reachable: the connection is lost, and its buffer is full."
    if isinstance(error, APIError | StreamFull):
        return f"Check the disk and the JetStream limits of the NATS server: it cannot use {stream} now."
    return (
        f"Check that NATS is reachable, that JetStream is enabled and has the stream {stream} (a router, a worker or "
        "`penstock up` creates it at its start), and that the server's disk is neither full nor slow."
    )


def _stream_of(subject: str) -> str:
    """The name of the stream that stores `subject`; `subject` itself when no stream of the contract does."""
    names = {tuple(pattern.split(".")[:2]): stream.name for stream in STREAMS for pattern in stream.subjects}
    return names.get(tuple(subject.split(".")[:2]), subject)
