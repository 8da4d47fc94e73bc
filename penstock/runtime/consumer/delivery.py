"""One message as a mailbox hands it out, and the verdicts a handler may give on it."""

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
    "DeadLetter",
    "Delivery",
    "NoVerdict",
    "Retry",
    "Verdict",
    "delivery_of",
]


class Delivery(Struct, kw_only=True):
    """A message pulled from a stream. Only the mailbox writes to it."""

    subject: str
    data: bytes
    headers: Mapping[str, str]
    ack_subject: str
    """Changes when the server delivers the message again while it is still held here."""
    sequence: int
    """In the stream."""
    number: int
    """1 on the first delivery."""
    stored_ns: int
    """When JetStream stored it, Unix nanoseconds."""
    pending: int = 0
    """How many more the consumer had for anybody when it gave this one away."""
    ack_deadline_s: float = inf
    """On the loop's clock: when the server gives it to somebody else unless it hears of it before."""
    ack_overdue: bool = False
    """That time passed unheard, or the server may have forgotten us."""

    @property
    def identity(self) -> tuple[int, int]:
        """The same for every delivery of one message, and for no other: a stream that was lost and made again gives
        its sequences out once more.
        """
        return self.sequence, self.stored_ns

    def may_be_redelivered(self, now_s: float) -> bool:
        """Whether somebody else may have been given the same message."""
        return self.ack_overdue or now_s >= self.ack_deadline_s


class Ack(Struct, frozen=True):
    """Done; the message leaves the stream."""


class Retry(Struct, frozen=True):
    """Not now: deliver it again after a while."""

    delay_s: float = 0.0
    to_other_process: bool = False
    """To another process: what this mailbox has asked for is withdrawn first."""


class DeadLetter(Struct, frozen=True):
    """It can never be done: bury it among the dead letters."""

    code: ErrorCode
    message: str


class NoVerdict(Struct, frozen=True):
    """Say nothing: somebody else holds the same message and will."""


Verdict = Ack | Retry | DeadLetter | NoVerdict
ACK: Final = Ack()
NO_VERDICT: Final = NoVerdict()


def delivery_of(msg: Msg) -> Delivery:
    """Read the facts that JetStream puts into the ack subject.

    `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<consumer sequence>.<stored>.<pending>`, and with two more
    tokens in front, domain and account, in newer form. Source: nats-architecture-and-design, ADR-15.
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
