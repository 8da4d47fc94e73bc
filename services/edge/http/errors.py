"""Errors of the HTTP layer, before a dialect gives them its shape."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Literal, Self

from msgspec import Struct

from penstock.contract.errors import ERRORS, ErrorCode, RetryAdvice
from services.edge.http.headers import Header

__all__ = [
    "ALL_ERRORS",
    "EDGE_ERRORS",
    "ClientDisconnected",
    "EdgeErrorCode",
    "EdgeErrorSpec",
    "HttpError",
    "ShuttingDown",
    "retry_headers",
]

EdgeErrorCode = Literal[
    "misplaced_api_key",
    "invalid_api_key",
    "not_allowed",
    "model_not_found",
    "not_found",
    "method_not_allowed",
    "request_timeout",
    "restarted",
    "job_not_ended",
    "answer_gone",
    "result_gone",
    "unsupported_media_type",
    "misdirected_request",
    "headers_too_large",
    "upgrade_not_served",
    "idempotency_key_reused",
    "too_many_requests",
    "not_implemented",
    "bus_unavailable",
    "keys_unavailable",
    "shutting_down",
]
"""Codes that only HTTP clients get, beside those of penstock/contract/errors.py."""


class EdgeErrorSpec(Struct, frozen=True):
    status: int
    retry: RetryAdvice
    meaning: str
    retry_after_s: float | None = None
    """Where the error itself does not say when."""


EDGE_ERRORS: Final[Mapping[str, EdgeErrorSpec]] = {
    "misplaced_api_key": EdgeErrorSpec(
        400, "never", "An API key is in a place from which it gets into logs."
    ),
    "invalid_api_key": EdgeErrorSpec(
        401, "never", "The API key is missing, mistyped, unknown, revoked or expired."
    ),
    "not_allowed": EdgeErrorSpec(
        403, "never", "The API key does not allow this role or model; the message lists what it allows."
    ),
    "model_not_found": EdgeErrorSpec(
        404, "never", "No role or model of that name exists; the message lists the roles."
    ),
    "not_found": EdgeErrorSpec(404, "never", "There is no such route, answer or job."),
    "method_not_allowed": EdgeErrorSpec(405, "never", "The header `allow` lists the methods of this path."),
    "request_timeout": EdgeErrorSpec(408, "later", "The request came too slowly."),
    "restarted": EdgeErrorSpec(
        409, "never", "The stream cannot be resumed at this event: read it from the beginning."
    ),
    "job_not_ended": EdgeErrorSpec(409, "later", "The job has no result yet.", 2),
    "answer_gone": EdgeErrorSpec(
        409, "never", "The answer that belongs to this idempotency key is not stored any more."
    ),
    "result_gone": EdgeErrorSpec(410, "never", "The result of the job is not stored."),
    "unsupported_media_type": EdgeErrorSpec(
        415,
        "never",
        "The header `content-type` is not `application/json`, or the body is compressed or has another transfer coding "
        "than `chunked`.",
    ),
    "misdirected_request": EdgeErrorSpec(
        421, "never", "The edge has no keys, and the request names another host than this machine."
    ),
    "idempotency_key_reused": EdgeErrorSpec(
        422, "never", "This idempotency key was used for another request."
    ),
    "headers_too_large": EdgeErrorSpec(431, "never", "The request line and the headers are too large."),
    "too_many_requests": EdgeErrorSpec(429, "later", "The key has too many requests in progress.", 1),
    "upgrade_not_served": EdgeErrorSpec(501, "never", "Another protocol than HTTP/1.1 is not served."),
    "not_implemented": EdgeErrorSpec(501, "never", "Nothing on the bus answers such requests."),
    "bus_unavailable": EdgeErrorSpec(503, "later", "NATS cannot be reached, or does not answer."),
    "keys_unavailable": EdgeErrorSpec(503, "later", "The API keys were not read from NATS yet.", 1),
    "shutting_down": EdgeErrorSpec(503, "later", "This process stops before the answer is complete.", 1),
}
ALL_ERRORS: Final[Mapping[str, EdgeErrorSpec]] = {
    **{code: EdgeErrorSpec(spec.http_status, spec.retry, spec.meaning) for code, spec in ERRORS.items()},
    **EDGE_ERRORS,
}
"""Every code that an HTTP client can get."""


_LONGEST_SDK_WAIT_S: Final = 60
"""Seconds of `retry-after` that every version of OpenAI's and Anthropic's SDKs obeys (`_calculate_retry_timeout`)."""


class HttpError(Exception):
    """The request ends with this status; `code`, `param` and `categories` are for the error object of the dialect."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: tuple[Header, ...] = (),
        categories: tuple[str, ...] = (),
    ) -> None:
        """`categories`: why the safety guard blocked the request or its answer."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.headers = headers
        self.categories = categories

    @classmethod
    def of(
        cls,
        code: EdgeErrorCode | ErrorCode,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        headers: tuple[Header, ...] = (),
    ) -> Self:
        """With the status and the retry advice of `code`."""
        spec = ALL_ERRORS[code]
        after_s = spec.retry_after_s if retry_after_s is None else retry_after_s
        advice = retry_headers(spec.retry, after_s)
        return cls(spec.status, code, message, param=param, headers=(*advice, *headers))


class ClientDisconnected(Exception):
    """The client closed the connection, or reads too slowly; the request needs no answer."""


class ShuttingDown(Exception):
    """This process stops before the answer is complete."""


def retry_headers(retry: RetryAdvice, retry_after_s: float | None) -> tuple[Header, ...]:
    """`retry-after` in whole seconds, and `x-should-retry: false` where the same request will fail again, or for longer
    than SDKs wait.

    OpenAI's and Anthropic's SDKs obey both; without the second they repeat every 409, 429 and 5xx, after a second or
    two where `retry-after` is above a minute.
    """
    if retry != "later":
        return ((b"x-should-retry", b"false"),)
    if retry_after_s is None:
        return ()
    after: Header = (b"retry-after", b"%d" % max(1, math.ceil(retry_after_s)))
    return (after,) if retry_after_s <= _LONGEST_SDK_WAIT_S else (after, (b"x-should-retry", b"false"))
