"""Every error code that an application can receive, and whether to retry."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

__all__ = ["ERRORS", "ErrorCode", "ErrorSpec", "Level", "RetryAdvice"]

ErrorCode = Literal[
    "invalid_request",
    "unknown_role",
    "request_too_large",
    "kind_not_served",
    "role_not_served",
    "overloaded",
    "rate_limited",
    "budget_exceeded",
    "budget_unavailable",
    "account_disabled",
    "deadline_exceeded",
    "context_length_exceeded",
    "content_filtered",
    "blocked",
    "guard_unavailable",
    "unknown_collection",
    "retrieval_unavailable",
    "provider_refused",
    "provider_credentials",
    "provider_unavailable",
    "undeliverable",
    "cancelled",
    "internal",
]
RetryAdvice = Literal["never", "later", "elsewhere"]
"""never: the same request will fail again. later: it may succeed after `retry_after_s`. elsewhere: it may succeed in
another role or with another model."""
Level = Literal["info", "warning", "error"]


class ErrorSpec(Struct, frozen=True):
    """The meaning of one code: HTTP status, retry advice and log level."""

    http_status: int
    retry: RetryAdvice
    level: Level
    meaning: str


ERRORS: Final[dict[ErrorCode, ErrorSpec]] = {
    "invalid_request": ErrorSpec(
        400, "never", "info", "The request is not well formed; the message names the field."
    ),
    "unknown_role": ErrorSpec(
        404, "never", "info", "No role or model of that name exists; the message lists the roles."
    ),
    "request_too_large": ErrorSpec(
        413, "never", "info", "The request is larger than the limit, which the message names."
    ),
    "kind_not_served": ErrorSpec(501, "never", "info", "No service answers this kind of request."),
    "role_not_served": ErrorSpec(
        503, "later", "warning", "The role or model exists, and no live worker serves it."
    ),
    "overloaded": ErrorSpec(
        429,
        "later",
        "warning",
        "The backlog cannot be processed before the deadline, or the share of the account or user is used; the request "
        "was not accepted.",
    ),
    "rate_limited": ErrorSpec(
        429,
        "later",
        "info",
        "A limit on requests, tokens or concurrency is reached; the message says when it frees.",
    ),
    "budget_exceeded": ErrorSpec(
        402, "later", "info", "A budget is used up; the message says which, and when it begins anew."
    ),
    "budget_unavailable": ErrorSpec(
        503,
        "later",
        "error",
        "The cost of the request cannot be reserved: no ledger answers, or no price is known.",
    ),
    "account_disabled": ErrorSpec(403, "never", "info", "The account, user or key is disabled."),
    "deadline_exceeded": ErrorSpec(
        504, "later", "warning", "The deadline passed before the answer was complete."
    ),
    "context_length_exceeded": ErrorSpec(
        400, "elsewhere", "info", "The conversation is longer than any model of the role can read."
    ),
    "content_filtered": ErrorSpec(
        400, "never", "info", "The provider's content filter rejected the request."
    ),
    "blocked": ErrorSpec(
        400, "never", "info", "The safety guard blocked the request or its answer; `categories` says why."
    ),
    "guard_unavailable": ErrorSpec(
        503,
        "later",
        "error",
        "The safety guard could not check the request, and the policy requires a check.",
    ),
    "unknown_collection": ErrorSpec(
        404, "never", "info", "The account has no collection of that name; the message says how to make one."
    ),
    "retrieval_unavailable": ErrorSpec(
        503,
        "later",
        "error",
        "No passages can be found: no indexer answers, or its store or the embedding model is not available.",
    ),
    "provider_refused": ErrorSpec(400, "never", "info", "The provider rejected the request as invalid."),
    "provider_credentials": ErrorSpec(
        502, "later", "error", "The provider does not accept the configured credential."
    ),
    "provider_unavailable": ErrorSpec(
        503, "later", "warning", "Every attempt at every model of the chain failed."
    ),
    "undeliverable": ErrorSpec(
        500, "never", "error", "The request was delivered too often and is now a dead letter."
    ),
    "cancelled": ErrorSpec(499, "never", "info", "The application cancelled the request."),
    "internal": ErrorSpec(
        500, "later", "error", "A fault in Penstock; the log line with this request id has the details."
    ),
}
