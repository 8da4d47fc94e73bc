"""The errors of the client. Each has a code of penstock/contract/errors.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock.contract.errors import ERRORS
from penstock.contract.streams import JOBS, REPLIES

if TYPE_CHECKING:
    from penstock.contract.errors import ErrorCode, RetryAdvice
    from penstock.contract.reply import FailedAttempt, Failure

__all__ = [
    "BeyondTheEnd",
    "BrokerRefused",
    "BrokerUnreachable",
    "ClientClosed",
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


_REPLY_MINUTES: Final = REPLIES.max_age_s // 60
_JOB_HOURS: Final = JOBS.max_age_s // 3_600


class PenstockError(Exception):
    """The error, whether to retry, and when."""

    code: ErrorCode = "internal"
    retry_after_s: float | None = None

    @property
    def retry(self) -> RetryAdvice:
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


class ClientClosed(PenstockError):
    """The client was used after `close`, or closed while it was waiting."""

    code: ErrorCode = "invalid_request"

    def __init__(self) -> None:
        super().__init__("the client is closed: connect another one with `Client.connect`")


class NotAccepted(PenstockError):
    """JetStream did not acknowledge the request; it may be sent again with the same id."""


class NoReply(PenstockError):
    """The deadline passed without a terminal event."""

    code: ErrorCode = "deadline_exceeded"


class UnknownReply(NoReply):
    """No event of the reply is stored, and its request is not queued."""

    code: ErrorCode = "invalid_request"

    def __init__(self, request_id: str, client: str) -> None:
        super().__init__(
            f"no reply of request {request_id} of the client {client!r} is stored: replies are stored for "
            f"{_REPLY_MINUTES} minutes under the name of the client that sent the request (client=...), "
            f"the answer of a job for {_JOB_HOURS} hours (`result`). A stream outside `async with` is sent "
            "only when its iteration begins"
        )


class BeyondTheEnd(PenstockError):
    """`after_seq` is larger than the last `seq` of the reply."""

    code: ErrorCode = "invalid_request"

    def __init__(self, after_seq: int, last_seq: int) -> None:
        super().__init__(
            f"after_seq={after_seq} is beyond the end of the reply, whose last event has seq {last_seq}; "
            "leave after_seq out to read it from the beginning"
        )


class ReplyIncomplete(PenstockError):
    """The answer is finished, but part of its text did not arrive and is not stored."""


class RequestTooLarge(PenstockError):
    """The request exceeds the message limit."""

    code: ErrorCode = "request_too_large"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the request has {size:,} bytes; the limit is {limit:,}")


class RequestFailed(PenstockError):
    """The request ended in a `failed` event."""

    def __init__(self, request_id: str, failure: Failure) -> None:
        super().__init__(failure.message)
        self.request_id = request_id
        self.failure = failure
        self.code = failure.code
        self.retry_after_s = failure.retry_after_s

    @property
    def retry(self) -> RetryAdvice:
        return self.failure.retry

    @property
    def provider_code(self) -> str | None:
        """The provider's own code or type in the last attempt."""
        return self.failure.provider_code

    @property
    def provider_message(self) -> str | None:
        """The provider's own message in the last attempt."""
        return self.failure.provider_message

    @property
    def attempts(self) -> tuple[FailedAttempt, ...]:
        """The failed provider calls, the latest last."""
        return self.failure.attempts


class UnknownJob(PenstockError):
    """No status is stored for this id: no router has read it yet, it is not a job, or it is too old."""

    code: ErrorCode = "invalid_request"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"there is no status of job {request_id}: either no router has read the request yet, or it is not a job "
            f"(only requests of the batch lane are), or its last change is more than {_JOB_HOURS} hours ago"
        )

    @property
    def retry(self) -> RetryAdvice:
        """A router records the job within milliseconds, or as soon as one runs."""
        return "later"


class ResultGone(PenstockError):
    """The job is completed, and its answer is not stored or no longer stored."""

    def __init__(self, request_id: str, *, never_kept: bool) -> None:
        why = (
            "it exceeded the message limit, or was only partly stored when its worker died"
            if never_kept
            else "it was the oldest result when the store was full"
        )
        super().__init__(f"job {request_id} is completed, but its answer is not stored: {why}")
