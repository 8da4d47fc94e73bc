"""The NATS message headers we read and write."""

from __future__ import annotations

from typing import Final

__all__ = [
    "CLIENT",
    "DEADLINE_MS",
    "DEAD_DELIVERIES",
    "DEAD_HISTORY",
    "DEAD_MESSAGE",
    "DEAD_REASON",
    "DEAD_STORED_MS",
    "DEAD_SUBJECT",
    "DEAD_TRUNCATED",
    "EXPECTED_LAST",
    "MESSAGE_ID",
    "REPEATED",
    "REPLY_SUBJECT",
    "TRACEPARENT",
]

MESSAGE_ID: Final = "Nats-Msg-Id"
"""JetStream stores one message per id inside a stream's duplicate window."""
EXPECTED_LAST: Final = "Nats-Expected-Last-Subject-Sequence"
"""Compare-and-set: stored only while the subject's last message is the one of this sequence; 0: while it has none."""
TRACEPARENT: Final = "traceparent"

CLIENT: Final = "Penstock-Client"
"""Optional on a request: with it, and the request's id at the end of `Nats-Msg-Id`, even a request that cannot be read
gets its refusal at the reply subject."""
DEADLINE_MS: Final = "Penstock-Deadline-Ms"
"""On work: Unix milliseconds, so that the expiry sweep reads no body."""
REPLY_SUBJECT: Final = "Penstock-Reply"
"""On work and dead letters: where the request's reply events go."""

REPEATED: Final = "Penstock-Repeated"
"""Set by whoever published more than once for lack of an acknowledgement: the duplicate window of a work queue does
not outlive a server's restart, so the next hop looks into the stored replies before it does anything twice."""

DEAD_REASON: Final = "Penstock-Dead-Reason"
DEAD_MESSAGE: Final = "Penstock-Dead-Message"
DEAD_SUBJECT: Final = "Penstock-Dead-Subject"
DEAD_DELIVERIES: Final = "Penstock-Dead-Deliveries"
DEAD_TRUNCATED: Final = "Penstock-Dead-Truncated"
DEAD_HISTORY: Final = "Penstock-Dead-History"
"""JSON in ASCII: penstock/contract/dead_letters.py."""
DEAD_STORED_MS: Final = "Penstock-Dead-Stored-Ms"
"""When the buried message was stored where it was found, Unix milliseconds."""
