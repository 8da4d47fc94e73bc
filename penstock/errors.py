"""The errors of the client. Each has a code of penstock/contract/errors.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock.contract.errors import ERRORS
from penstock.contract.streams import JOBS, REPLIES

if TYPE_CHECKING:
    from penstock.contract.errors import ErrorCode, RetryAdvice
    from penstock.contract.ledger.limits import LimitStatus
    from penstock.contract.reply import FailedAttempt, Failure

__all__ = [
    "BeyondTheEnd",
    "BrokerRefused",
    "BrokerUnreachable",
    "ClientClosed",
    "IdTaken",
    "NoReply",
    "NotAccepted",
    "PenstockError",
    "ReplyIncomplete",
    "RequestFailed",
    "RequestTooLarge",
    "ResultGone",
    "RetrievalFailed",
    "RetrievalUnavailable",
    "StoreUnavailable",
    "UnknownCollection",
    "UnknownJob",
    "UnknownReply",
]


_REPLY_MINUTES: Final = REPLIES.max_age_s // 60
_JOB_HOURS: Final = JOBS.max_age_s // 3_600
_RETRY_S: Final = 5.0
"""Seconds until a call is worth repeating that NATS did not serve: a client connects again several times a second, and
a stream elects a new leader in a few seconds."""


class PenstockError(Exception):
    """The error, whether to retry, and when. The message says all three, except for RequestFailed, whose message is
    that of the failure.
    """

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
            f"no NATS server answers at {url} ({reason}); start one with `penstock up`, or set NATS_URL, "
            "and connect again"
        )


class BrokerRefused(BrokerUnreachable):
    """A NATS server answers and rejected the credentials or the TLS handshake."""

    def __init__(self, url: str, rejected: str, reason: str) -> None:
        PenstockError.__init__(
            self,
            f"the NATS server at {url} answers and did not accept the {rejected}: {reason}; "
            "check the credentials and certificates (NATS_CREDS, NATS_NKEY_SEED, NATS_USER, NATS_TOKEN, NATS_CA, "
            "NATS_CERT; or auth=NatsAuth(...)) and connect again",
        )


class ClientClosed(PenstockError):
    """The client was used after `close`, or closed while it was waiting."""

    code: ErrorCode = "invalid_request"

    def __init__(self) -> None:
        super().__init__("the client is closed: connect another one with `Client.connect`")


class NotAccepted(PenstockError):
    """JetStream did not acknowledge the request, or a cancel could not be sent.

    A request of which only the acknowledgement was lost is stored all the same.
    """

    retry_after_s = _RETRY_S

    def __init__(self, what: str, cause: str, code: ErrorCode = "internal") -> None:
        """`code`: `overloaded` where too many requests of the account wait, whatever the state of NATS."""
        super().__init__(f"{what}: {cause} Send it again in {_RETRY_S:g} s")
        self.code = code


class IdTaken(NotAccepted):
    """JetStream dropped the request as a duplicate of a message with its id, and nothing of the request is stored."""

    def __init__(self, request_id: str) -> None:
        PenstockError.__init__(
            self,
            f"the request {request_id} was not accepted: another message had its Nats-Msg-Id within 10 minutes, and "
            "nothing of the request is stored. Another sender used the id, or its reply was deleted before its time. "
            "Send it again with another id",
        )


class StoreUnavailable(PenstockError):
    """JetStream did not answer, or lacks the stream."""

    retry_after_s = _RETRY_S

    def __init__(self, what: str, cause: str) -> None:
        super().__init__(f"{what} cannot be read: {cause} Try again in {_RETRY_S:g} s")


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
    """The request is larger than any may be."""

    code: ErrorCode = "request_too_large"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the request has {size:,} bytes; the limit is {limit:,}: send a shorter one")


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

    @property
    def categories(self) -> tuple[str, ...]:
        """Why the safety guard blocked the request or its answer, as `personal_data/email`."""
        return self.failure.categories

    @property
    def limit(self) -> LimitStatus | None:
        """The budget limit that refused the request; None: no limit did."""
        return self.failure.limit


class UnknownJob(PenstockError):
    """No status is stored for this id: no router has read it yet, it is not a job, or it is too old."""

    code: ErrorCode = "invalid_request"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"there is no status of job {request_id}: check the id, or ask again in a second if it was submitted just "
            f"now. Only requests of the batch lane have one, for {_JOB_HOURS} hours after the last change"
        )

    @property
    def retry(self) -> RetryAdvice:
        """A router records the job within milliseconds, or as soon as one runs."""
        return "later"


class RetrievalFailed(PenstockError):
    """A search, or a list of documents or collections, was refused."""

    def __init__(
        self, message: str, retry_after_s: float | None = None, code: ErrorCode = "internal"
    ) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_s = retry_after_s


class UnknownCollection(RetrievalFailed):
    """The account has no collection of that name."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="unknown_collection")


class RetrievalUnavailable(RetrievalFailed):
    """No indexer answers, or its store or the embedding model is not available."""

    def __init__(self, message: str, retry_after_s: float | None = _RETRY_S) -> None:
        super().__init__(message, retry_after_s, "retrieval_unavailable")


class ResultGone(PenstockError):
    """The job is completed, and its answer is not stored, no longer stored or not readable."""

    def __init__(self, request_id: str, why: str) -> None:
        super().__init__(
            f"job {request_id} is completed, but its answer is not stored: {why}. Submit the job again if the answer "
            "is still wanted"
        )

    @property
    def retry(self) -> RetryAdvice:
        """Reading again finds no answer either."""
        return "never"
