"""Every outcome of a request event at the router: routed, rejected, enqueued or already accepted."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from penstock.contract.errors import ErrorCode, RetryAdvice
from penstock.contract.jobs import Job
from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.names import Kind
from penstock.contract.reply import Accepted
from penstock.contract.request import BodyRef
from penstock.contract.subjects import ReplyAddress
from penstock.contract.work import ChatWork

__all__ = [
    "NOT_SERVED_RETRY_S",
    "AlreadyAccepted",
    "BodyNeeded",
    "Enqueued",
    "InvalidRequest",
    "Outcome",
    "Rejected",
    "Routed",
]

NOT_SERVED_RETRY_S: Final = 5.0
"""Seconds after which a client should retry a role without live workers."""


class InvalidRequest(ValueError):
    """Raised inside the decision; its text and `code` become the rejection."""

    def __init__(
        self,
        message: str,
        code: ErrorCode = "invalid_request",
        retry_after_s: float | None = None,
        *,
        param: str | None = None,
    ) -> None:
        """`param`: the field that is wrong; None: it is no single one."""
        super().__init__(message)
        self.code: ErrorCode = code
        self.retry_after_s = retry_after_s
        self.param = param


class BodyNeeded(Struct, frozen=True):
    """The decision needs the stored body of the request."""

    address: ReplyAddress
    ref: BodyRef
    kind: Kind = "chat"


class Routed(Struct, frozen=True, kw_only=True):
    """The request has a role and a deadline: `work` for the mailbox, `accepted` for the application."""

    work: ChatWork
    accepted: Accepted
    max_tokens: int | None = None
    """The output limit of the body."""
    choices: int = 1
    """How many answers it asks for, each of up to the output limit."""
    unclear_text: str = ""
    """The text of a request with the role `auto` in which the rules recognise no topic, and which a classifier may
    know; empty for any other request."""


class Rejected(Struct, frozen=True, kw_only=True):
    """The request ends here with `failed`, or as a dead letter where `reply_to` is None."""

    code: ErrorCode
    message: str
    reply_to: ReplyAddress | None
    retry_after_s: float | None = None
    param: str | None = None
    """The field that is wrong; None: it is no single one."""
    retry: RetryAdvice | None = None
    """None: that of the code."""
    limit: LimitStatus | None = None
    """The budget limit that refused the request; None: no limit did."""
    seq: int = 0
    """Sequence number of the `failed` event; 1 where `accepted` has been, or may have been, published."""
    job: Job | None = None
    """Status of a batch request, as far as it is known."""
    accepted: Accepted | None = None
    """The `accepted` event that this router published before the rejection."""
    recorded: bool = False
    """The job record was written for this very request, whose work was then not enqueued."""
    held: bool = False
    """The ledger may hold its cost, which is released when the request has ended."""


class Enqueued(Struct, frozen=True):
    """The work is in its mailbox."""

    work: ChatWork
    new: bool
    """Work of this id was not stored before."""


class AlreadyAccepted(Struct, frozen=True):
    """A job of this id runs or has ended: there is nothing to enqueue."""


Outcome = Rejected | Enqueued | AlreadyAccepted
"""The end of a request event at the router; `Routed` is the step before it."""
