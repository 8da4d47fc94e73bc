"""The errors an application can meet. Each carries a code of penstock/contract/errors.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.contract.errors import ERRORS

if TYPE_CHECKING:
    from penstock.contract.errors import ErrorCode, Retry
    from penstock.contract.reply import FailedAttempt, Failure

__all__ = [
    "BeyondTheEnd",
    "BrokerRefused",
    "BrokerUnreachable",
    "NoReply",
    "NotAccepted",
    "PenstockError",
    "ReplyIncomplete",
    "RequestFailed",
    "RequestTooLarge",
    "ResultGone",
    "UnknownJob",
    "UnknownReply",
]


class PenstockError(Exception):
    """What happened, whether to try again, and when."""

    code: ErrorCode = "internal"
    retry_after_s: float | None = None

    @property
    def retry(self) -> Retry:
        return ERRORS[self.code].retry

    @property
    def http_status(self) -> int:
        return ERRORS[self.code].http_status


class BrokerUnreachable(PenstockError):
    """No NATS server answers at the configured address, or one rejected this client (BrokerRefused)."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"no NATS server answers at {url} ({reason}); start one with `penstock up`, or set NATS_URL"
        )


class BrokerRefused(BrokerUnreachable):
    """A NATS server answers and rejected the credentials or the TLS handshake."""

    def __init__(self, url: str, rejected: str, reason: str) -> None:
        PenstockError.__init__(
            self,
            f"the NATS server at {url} answers and did not accept the {rejected}: {reason}; "
            "check the credentials and certificates (docs/configuration.md, NATS credentials)",
        )


class NotAccepted(PenstockError):
    """JetStream did not acknowledge the request; it may be sent again under the same id."""


class NoReply(PenstockError):
    """The deadline passed and no terminal event came."""

    code: ErrorCode = "deadline_exceeded"


class UnknownReply(NoReply):
    """Nothing of the reply is stored, and nothing is queued that it could come from."""

    code: ErrorCode = "invalid_request"

    def __init__(self, request_id: str, client: str) -> None:
        super().__init__(
            f"nothing is known of a request {request_id} of the client {client!r}: replies are kept for 15 minutes and "
            "found by the name of the client that asked (client=...); the answer of a job is kept longer (`result`)"
        )


class BeyondTheEnd(PenstockError):
    """A reply was to be resumed behind its end."""

    code: ErrorCode = "invalid_request"

    def __init__(self, after_seq: int, last_seq: int) -> None:
        super().__init__(
            f"after_seq={after_seq} is beyond the end of the reply, whose last event has seq {last_seq}; "
            "leave after_seq out to read it from the beginning"
        )


class ReplyIncomplete(PenstockError):
    """The answer is finished, but some of its text was lost on the way and is not stored either."""


class RequestTooLarge(PenstockError):
    """The request is larger than a message may be."""

    code: ErrorCode = "request_too_large"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the request has {size:,} bytes; a message may have {limit:,}")


class RequestFailed(PenstockError):
    """The request ended in a `failed` event."""

    def __init__(self, request_id: str, failure: Failure) -> None:
        super().__init__(failure.message)
        self.request_id = request_id
        self.failure = failure
        self.code = failure.code
        self.retry_after_s = failure.retry_after_s

    @property
    def retry(self) -> Retry:
        return self.failure.retry

    @property
    def provider_code(self) -> str | None:
        """The provider's own code or type, of the last attempt."""
        return self.failure.provider_code

    @property
    def provider_message(self) -> str | None:
        """The provider's own message, of the last attempt."""
        return self.failure.provider_message

    @property
    def attempts(self) -> tuple[FailedAttempt, ...]:
        """The provider calls that failed, the latest last."""
        return self.failure.attempts


class UnknownJob(PenstockError):
    """No status is stored for this id: no router has seen it yet, it was not of the batch lane, or it is too old."""

    code: ErrorCode = "invalid_request"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"no job {request_id} is known: requests of the batch lane are, from their acceptance until a day after "
            "their end at least"
        )


class ResultGone(PenstockError):
    """The job is completed, and its answer is not stored, or not any more."""

    def __init__(self, request_id: str, *, never_kept: bool) -> None:
        why = (
            "it was larger than a message may be, or not all of it was stored when its worker died"
            if never_kept
            else "it was the oldest when there was no more room"
        )
        super().__init__(f"job {request_id} is completed, but its answer is not kept: {why}")
