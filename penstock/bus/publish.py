"""Publish a message that must not be lost: repeated under one message id until JetStream acknowledges it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import nats.errors
from nats.js import JetStreamContext
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from penstock.bus.clock import loop_now_s
from penstock.bus.direct_get import NoSuchStream
from penstock.bus.freezes import frozen_s
from penstock.bus.jetstream_errors import advice, is_at_limit, is_full, is_passing
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.retry import RetryPolicy, retry
from penstock.bus.write_check import StreamNotWritable, publish_checked
from penstock.contract.headers import MESSAGE_ID, REPEATED
from penstock.contract.streams import REQUESTS, STREAMS

__all__ = [
    "LONGEST_STORING_S",
    "NOT_STORED",
    "Stored",
    "StreamFull",
    "store",
    "store_or_refuse",
    "what_to_check",
]

_log: Final = rate_limited_logger(__name__)
_DEFAULT: Final = RetryPolicy(timeout_s=60.0)
LONGEST_STORING_S: Final = 600.0
"""Seconds for which a service tries to store the end of a request, its usage or its record: an answer that was paid for
is lost without them."""
_ACK_TIMEOUT_S: Final = 2.0
"""Seconds to wait for an acknowledgement before the message is sent again: it may be lost with its connection."""
_SLOWEST_BYTES_PER_S: Final = 4_000_000
"""What adds to that for a large message, which waits behind others: sent again too early, it adds to the load."""
_SHORTEST_TIMEOUT_S: Final = 0.25
_RETRIED: Final = (
    APIError,
    nats.errors.TimeoutError,
    nats.errors.NoRespondersError,
    nats.errors.OutboundBufferLimitError,
    NoStreamResponseError,
    StreamNotWritable,
)


class StreamFull(Exception):
    """The stream has reached its limit, or the server has no storage left; nothing was stored."""


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
    sequence: int
    """Of the message with this id in the stream."""


async def store(
    js: JetStreamContext,
    subject: str,
    payload: bytes,
    *,
    message_id: str,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = _DEFAULT.timeout_s,
) -> bool:
    """Publish for work that was accepted: as `store_or_refuse`, but repeated also while the server cannot write to the
    stream, and not at the limit of `LLM_REQUESTS`. Returns whether the message is new.

    Raises StreamFull at once at the limit of the stream, and the last nats error after `timeout_s`.
    """
    message = subject, payload, {**(headers or {}), MESSAGE_ID: message_id}
    return (await _store(js, message, _stream_of(subject), timeout_s, _is_transient)).new


async def store_or_refuse(
    js: JetStreamContext,
    subject: str,
    payload: bytes,
    *,
    message_id: str,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = _DEFAULT.timeout_s,
) -> Stored:
    """Publish what its sender may still refuse: until JetStream acknowledges, for at most `timeout_s`, also while
    `LLM_REQUESTS` is at its limit, because its messages are consumed within seconds. A repeated message has the same
    id and is stored once.

    Raises StreamFull after the timeout, at once at the limit of another stream or of the subject, StreamNotWritable
    within 2 s where the server cannot write to the stream, and the last nats error after the timeout.
    """
    message = subject, payload, {**(headers or {}), MESSAGE_ID: message_id}
    stream = _stream_of(subject)
    transient = _is_transient_of_requests if stream == REQUESTS.name else _is_transient_writing
    return await _store(js, message, stream, timeout_s, transient)


_Message = tuple[str, bytes, dict[str, str]]
"""Subject, payload and headers."""


async def _store(
    js: JetStreamContext,
    message: _Message,
    stream: str,
    timeout_s: float,
    transient: Callable[[Exception], bool],
) -> Stored:
    subject, payload, headers = message
    began_s = loop_now_s()
    try:
        ack = await publish_checked(
            js,
            subject,
            payload,
            stream=stream,
            headers=headers,
            timeout_s=min(_ack_s(payload), max(_SHORTEST_TIMEOUT_S, timeout_s)),
        )
    except _RETRIED as error:
        failure = error.with_traceback(None)  # its frames would keep the message until a garbage collection
    else:
        return Stored(not ack.duplicate, ack.duplicate, ack.seq)
    try:
        return await _repeat(js, message, failure, began_s + timeout_s + frozen_s(began_s), transient)
    except APIError as error:
        if is_full(error):
            raise StreamFull(str(error.description)) from error
        raise


async def _repeat(
    js: JetStreamContext,
    message: _Message,
    failure: Exception,
    give_up_s: float,
    transient: Callable[[Exception], bool],
) -> Stored:
    """Store a message after the first attempt ended in `failure`, until `give_up_s` on the loop's clock."""
    subject, payload, headers = message
    failures = [failure]

    async def publish() -> Stored:
        if failures:
            raise failures.pop()
        left_s = min(_ack_s(payload), max(_SHORTEST_TIMEOUT_S, give_up_s - loop_now_s()))
        ack = await publish_checked(
            js, subject, payload, stream=_stream_of(subject), headers=headers, timeout_s=left_s
        )
        return Stored(not ack.duplicate, by_another=False, sequence=ack.seq)

    def report(error: Exception) -> None:
        headers[REPEATED] = "1"
        _log_repetition(subject, error)

    return await retry(
        publish,
        on=_RETRIED,
        report=report,
        policy=RetryPolicy(timeout_s=give_up_s - loop_now_s()),
        transient=transient,
    )


def _ack_s(payload: bytes) -> float:
    """Seconds to wait for the acknowledgement of a message."""
    return _ACK_TIMEOUT_S + len(payload) / _SLOWEST_BYTES_PER_S


def _log_repetition(subject: str, error: Exception) -> None:
    stream, check = _stream_of(subject), what_to_check(subject, error)
    if isinstance(error, APIError):
        _log.warning(
            "JetStream could not store a message for %s yet (%s); trying again. %s",
            stream,
            error.description,
            check,
        )
    else:
        _log.warning(
            "no acknowledgement from %s yet (%s); sending again. %s", stream, type(error).__name__, check
        )


def _is_transient(error: Exception) -> bool:
    return not isinstance(error, APIError) or is_passing(error)


def _is_transient_writing(error: Exception) -> bool:
    return not isinstance(error, StreamNotWritable) and _is_transient(error)


def _is_transient_of_requests(error: Exception) -> bool:
    return _is_transient_writing(error) or (isinstance(error, APIError) and is_at_limit(error))


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
    if isinstance(error, StreamNotWritable):
        return (
            "After a failed write the server refuses the messages of a stream until it is restarted: free space on its "
            "disk if that is full, then restart it (`penstock up` does so with its own)."
        )
    if isinstance(error, nats.errors.OutboundBufferLimitError):
        return "Check that NATS is reachable: the connection is lost, and its buffer is full."
    cause = error.__cause__ if isinstance(error, StreamFull) else error
    if isinstance(cause, APIError) and (known := advice(cause)):
        return known
    if isinstance(error, APIError | StreamFull):
        return f"Check the disk and the JetStream limits of the NATS server: it cannot use {stream} now."
    return (
        f"Check that NATS is reachable, that JetStream is enabled and has the stream {stream} (a router, a worker or "
        "`penstock up` creates it at its start), and that the server's disk is neither full nor slow."
    )


_STREAM_BY_START: Final = {
    pattern[: pattern.index("*" if "*" in pattern else ">")]: stream.name
    for stream in STREAMS
    for pattern in stream.subjects
}
"""How the subjects of each stream begin, and its name."""
_start_of: Final = re.compile("|".join(map(re.escape, sorted(_STREAM_BY_START, key=len, reverse=True)))).match
"""The longest of them with which a subject begins."""


def _stream_of(subject: str) -> str:
    """The name of the stream that stores `subject`; `subject` itself when no stream of the contract does."""
    start = _start_of(subject)
    return subject if start is None else _STREAM_BY_START[start[0]]
