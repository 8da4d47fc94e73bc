"""The NATS message headers that Penstock reads and writes."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

__all__ = [
    "BODY_BYTES",
    "CLIENT",
    "DEADLINE_MS",
    "DEAD_DELIVERIES",
    "DEAD_HISTORY",
    "DEAD_MESSAGE",
    "DEAD_REASON",
    "DEAD_STORED_MS",
    "DEAD_SUBJECT",
    "DEAD_TRUNCATED",
    "ERROR",
    "ERROR_CODE",
    "EXPECTED_LAST",
    "MESSAGE_ID",
    "REPEATED",
    "REPLY_SUBJECT",
    "TRACEPARENT",
    "DeadAttempt",
    "DeadHistory",
    "request_message_id",
]

MESSAGE_ID: Final = "Nats-Msg-Id"
"""JetStream stores one message per id within the duplicate window of a stream."""
EXPECTED_LAST: Final = "Nats-Expected-Last-Subject-Sequence"
"""Compare-and-set: stored only if the last message of the subject has this sequence; 0: if it has none."""
TRACEPARENT: Final = "traceparent"
ERROR: Final = "Nats-Service-Error"
"""On the answer of a ledger to a query: why it has no report, as services of NATS say it. The body is empty."""
ERROR_CODE: Final = "Nats-Service-Error-Code"
"""400: the query cannot be read. 503: it cannot be answered now."""

CLIENT: Final = "Penstock-Client"
"""Optional on a request. With it, and the request id at the end of `Nats-Msg-Id`, the rejection of a request that
cannot be decoded reaches the reply subject."""
DEADLINE_MS: Final = "Penstock-Deadline-Ms"
"""On work: the deadline in Unix milliseconds, which the expiry sweep reads without decoding the body."""
BODY_BYTES: Final = "Penstock-Body-Bytes"
"""On work with a `body_ref`: the size of the stored body, which the expiry sweep deletes."""
REPLY_SUBJECT: Final = "Penstock-Reply"
"""On work and dead letters: the subject of the reply events."""

REPEATED: Final = "Penstock-Repeated"
"""Set on a message that was published more than once because no acknowledgement arrived. The duplicate window of a work
queue does not survive a restart of the server, so the receiver reads the stored replies before it acts twice."""

DEAD_REASON: Final = "Penstock-Dead-Reason"
DEAD_MESSAGE: Final = "Penstock-Dead-Message"
DEAD_SUBJECT: Final = "Penstock-Dead-Subject"
DEAD_DELIVERIES: Final = "Penstock-Dead-Deliveries"
DEAD_TRUNCATED: Final = "Penstock-Dead-Truncated"
DEAD_HISTORY: Final = "Penstock-Dead-History"
"""A DeadHistory as JSON in ASCII."""
DEAD_STORED_MS: Final = "Penstock-Dead-Stored-Ms"
"""When the original message was stored in its stream, Unix milliseconds."""


class DeadAttempt(Struct, frozen=True, kw_only=True):
    """One provider attempt, reconstructed from the stored reply events."""

    attempt: int
    model: str = ""
    provider: str = ""
    worker: str = ""
    at_ms: int = 0
    """Start of the attempt in Unix milliseconds; 0: unknown."""
    outcome: str = ""
    """The error code for which another attempt followed, or `no end` when the worker sent no further event."""
    bytes_out: int = 0
    """Bytes of answer text sent before the attempt ended."""


class DeadHistory(Struct, frozen=True, kw_only=True):
    """The last attempts, oldest first; `left_out` earlier ones are not listed."""

    attempts: tuple[DeadAttempt, ...] = ()
    left_out: int = 0


def request_message_id(account: str, client: str, request_id: str) -> str:
    """The `Nats-Msg-Id` of a request event."""
    return f"{account}.{client}.{request_id}"
