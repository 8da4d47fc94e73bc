"""What an HTTP error of an OpenAI-compatible provider means; the same for every SDK."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from services.worker.calls.wire_errors import ProviderErrorEvent
from services.worker.failures import FailureKind, ProviderFailure

__all__ = ["failure_of_error_event", "failure_of_status"]

_BY_CODE: Final[dict[str, FailureKind]] = {
    "context_length_exceeded": "context_length",
    "string_above_max_length": "context_length",
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "model_not_found": "not_found",
    "model_decommissioned": "not_found",
    "rate_limit_exceeded": "rate_limited",
    "insufficient_quota": "rate_limited",
    "invalid_api_key": "credentials",
}
_BY_STATUS: Final[dict[int, FailureKind]] = {
    401: "credentials",
    402: "credentials",
    403: "credentials",
    404: "not_found",
    408: "too_slow",
    409: "server_error",
    413: "too_large",
    425: "server_error",
    429: "rate_limited",
    498: "rate_limited",  # Groq: flex tier capacity exceeded
}


class _Error(Struct):
    message: str | None = None
    code: str | int | None = None
    type: str | None = None


class _Body(Struct):
    error: _Error | str | None = None


_decoder: Final = msgspec.json.Decoder(_Body)


def failure_of_status(status: int, body: bytes, retry_after_s: float | None) -> ProviderFailure:
    """The failure that an HTTP status of 300 or above stands for."""
    error = _read(body)
    kind = _kind(status, str(error.code or ""), error.message or "")
    words = error.message or ("a redirect, which is not followed" if status < 400 else f"HTTP {status}")
    return ProviderFailure(kind, f"{status}: {words}", status=status, retry_after_s=retry_after_s)


def failure_of_error_event(event: ProviderErrorEvent) -> ProviderFailure:
    """The failure that an error inside a stream stands for."""
    error = event.error
    kind = _BY_CODE.get(error.code or "", "server_error")
    return ProviderFailure(kind, str(event), retry_after_s=error.retry_after_s, error=error)


def _kind(status: int, code: str, message: str) -> FailureKind:
    by_code = _BY_CODE.get(code) if status >= 400 else None
    if status in {401, 429}:
        return _BY_STATUS[status]
    if status == 413 and by_code == "rate_limited":
        return "too_large"  # Groq: more than the limit of a minute, so no wait would help
    if by_code is not None and status < 500:
        return by_code
    if status == 400 and "context length" in message.lower():
        return "context_length"
    if status >= 500 or status < 400:
        return "server_error"
    return _BY_STATUS.get(status, "refused")


def _read(body: bytes) -> _Error:
    try:
        error = _decoder.decode(body).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Error()
    return _Error(message=error) if isinstance(error, str) else error or _Error()
