"""What a provider says is wrong, read from any of the shapes in which providers say it."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["ProviderError", "error_in"]

_NO_MESSAGE = "the provider reported an error without a message"


class ProviderError(Struct, frozen=True, kw_only=True):
    """One refusal or failure in the provider's own terms. What it did not say is None or empty."""

    message: str = ""
    """The provider's own, on one line and of bounded length."""
    code: str | None = None
    """A word (`context_length_exceeded`) or a number, as text."""
    type: str | None = None
    status: int | None = None
    """The HTTP status, or the one that the body names where HTTP said 200."""
    parameter: str | None = None
    """The parameter of the request that it names."""
    retry_after_s: float | None = None
    """How long to wait, from a header, a field or the message."""


def error_in(value: object) -> ProviderError | None:
    """The error that a decoded JSON value of a 200 reports: a whole body, an event of a stream, or the value of an
    `error` key within one. None where it reports none. Never raises.
    """
    if isinstance(value, dict) and "error" in value:
        value = value["error"]
    if isinstance(value, dict) and (value.keys() & {"message", "code", "type", "status_code"}):
        code = value.get("code") or value.get("type") or value.get("status_code")
        message = value.get("message") or _NO_MESSAGE
        return ProviderError(code=None if code is None else str(code), message=str(message))
    return ProviderError(message=value) if isinstance(value, str) and value else None
