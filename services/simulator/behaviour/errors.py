"""The behaviours that answer with an error status, in the providers' wording."""

from __future__ import annotations

from typing import Final

from services.simulator.behaviour.model_names import Behaviour, Kind
from services.simulator.http.errors import ApiError, model_not_found

__all__ = ["error_of", "flaky_fails", "flapping_fails", "overloaded"]


def error_of(behaviour: Behaviour, model: str) -> ApiError | None:
    """The error with which this behaviour answers every request; None for the other behaviours."""
    if behaviour.kind == "429":
        return _rate_limited(((b"retry-after", f"{behaviour.value:g}".encode()),))
    if behaviour.kind == "429-bare":
        return _rate_limited(())
    if behaviour.kind == "withdrawn":
        return model_not_found(model)
    return _error(behaviour.kind) if behaviour.kind in _ERRORS else None


def overloaded() -> ApiError:
    return _error("503")


def flaky_fails(attempt: int, share: float) -> bool:
    """Whether attempt number 0, 1, 2, … fails: evenly spread, with a failure rate of exactly `share` in the
    long run.
    """
    return int((attempt + 1) * share) > int(attempt * share)


def flapping_fails(since_s: float, now_s: float, period_s: float) -> bool:
    """Whether `now_s` is in a failing period: the first period from `since_s` is healthy, then they alternate."""
    return int((now_s - since_s) / period_s) % 2 == 1


def _error(kind: Kind) -> ApiError:
    status, error_type, code, message = _ERRORS[kind]
    return ApiError(status, message, kind=error_type, code=code)


def _rate_limited(headers: tuple[tuple[bytes, bytes], ...]) -> ApiError:
    return ApiError(
        429,
        "Rate limit reached. Please try again later.",
        kind="requests",
        code="rate_limit_exceeded",
        headers=headers,
    )


_ERRORS: Final[dict[Kind, tuple[int, str, str | None, str]]] = {
    "500": (500, "server_error", None, "The server had an error while processing your request."),
    "503": (503, "server_error", None, "The engine is currently overloaded, please try again later."),
    "unauthorized": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    "forbidden": (403, "permission_error", "forbidden", "Your project has no access to this model."),
    "bad-request": (400, "invalid_request_error", None, "Invalid request: unsupported value."),
    "context-length": (
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "This model's maximum context length is 8192 tokens. Please reduce the length of the messages.",
    ),
    "content-filter": (
        400,
        "invalid_request_error",
        "content_filter",
        "The response was filtered due to the prompt triggering the content management policy.",
    ),
    "too-large": (
        413,
        "tokens",
        "rate_limit_exceeded",
        (
            "Request too large for this model on tokens per minute (TPM): Limit 8000, Requested 12000, "
            "please reduce your message size and try again."
        ),
    ),
}
"""Status, type, code and message by kind. The 413 has Groq's wording (console.groq.com)."""
