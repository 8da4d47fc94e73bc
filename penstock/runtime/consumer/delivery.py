"""One delivery of a message, and the verdicts that a handler returns for it."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Final

from msgspec import Struct
from nats.aio.msg import Msg

from penstock.contract.errors import ErrorCode

__all__ = [
    "ACK",
    "NO_VERDICT",
    "Ack",
    "Delivery",
    "NoVerdict",
    "Redeliver",
    "Unprocessable",
    "Verdict",
    "delivery_of",
]


class Delivery(Struct, kw_only=True):
    """A message pulled from a stream. Only the mailbox changes it."""

    subject: str
    data: bytes
    headers: Mapping[str, str]
    ack_subject: str
    """The subject for verdicts; it changes when the server redelivers the message while it is in flight here."""
    sequence: int
    """The sequence number in the stream."""
    number: int
    """The number of this delivery, 1 for the first."""
    stored_ns: int
    """When JetStream stored the message, Unix nanoseconds."""
    pending: int = 0
    """How many undelivered messages the consumer had left after this one."""
    arrived_s: float = 0.0
    """The earliest time at which it may have arrived at this process, on the loop's clock."""
    ack_deadline_s: float = inf
    """When the server redelivers the message unless its deadline is extended before; on the loop's clock."""
    ack_overdue: bool = False
    """The deadline has passed without an extension, or the connection was lost."""

    @property
    def identity(self) -> tuple[int, int]:
        """The same for every delivery of one message, and different for all others: the sequence alone is not, because
        a stream that was deleted and created again reuses its sequences.
        """
        return self.sequence, self.stored_ns

    def may_be_redelivered(self, now_s: float) -> bool:
        """Whether the server may have delivered the message to another process."""
        return self.ack_overdue or now_s >= self.ack_deadline_s


class Ack(Struct, frozen=True):
    """The message is done and leaves the stream."""


class Redeliver(Struct, frozen=True):
    """The message is delivered again after `delay_s`."""

    delay_s: float = 0.0
    to_other_process: bool = False
    """Withdraw this mailbox's pull requests first, so that another process receives the message."""


class Unprocessable(Struct, frozen=True):
    """The message can never be processed and is stored as a dead letter."""

    code: ErrorCode
    message: str


class NoVerdict(Struct, frozen=True):
    """No verdict is sent: another process holds the same message and will send one."""


Verdict = Ack | Redeliver | Unprocessable | NoVerdict
ACK: Final = Ack()
NO_VERDICT: Final = NoVerdict()


def delivery_of(msg: Msg) -> Delivery:
    """Parse the metadata that JetStream puts into the ack subject.

    `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<consumer sequence>.<stored>.<pending>`; a newer form has two
    more tokens in front, JetStream domain and NATS account. Source: nats-architecture-and-design, ADR-15.
    """
    parts = msg.reply.split(".")
    first = 4 if len(parts) == 9 else 6
    return Delivery(
        subject=msg.subject,
        data=msg.data,
        headers=msg.headers or {},
        ack_subject=msg.reply,
        sequence=int(parts[first + 1]),
        number=int(parts[first]),
        stored_ns=int(parts[first + 3]),
        pending=int(parts[first + 4]),
    )
