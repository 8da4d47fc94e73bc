"""Limits of a request's envelope: deadline and size."""

from __future__ import annotations

from typing import Final

from penstock.contract.request import LONGEST_S
from services.router.routing.outcome import InvalidRequest

__all__ = ["DeadlinePast", "TooLarge", "check_size", "deadline_ms"]

_EARLIEST_INSTANT_MS: Final = 100_000_000_000
"""Unix milliseconds in 1973; the same number in seconds is the year 5138. A lower value is a duration or in seconds."""


class DeadlinePast(InvalidRequest):
    """The deadline passed before the router received the request."""

    code = "deadline_exceeded"

    def __init__(self, until_ms: int, now_ms: int) -> None:
        if until_ms < _EARLIEST_INSTANT_MS < now_ms:
            soon_ms = now_ms + 60_000
            message = (
                f"deadline_ms {until_ms} is long past: it must be an instant in milliseconds since 1970, "
                f"such as {soon_ms}"
            )
        else:
            message = f"the deadline passed {now_ms - until_ms:,} ms before the request was routed"
        super().__init__(message)


class TooLarge(InvalidRequest):
    """The body exceeds the size limit."""

    code = "request_too_large"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the body has {size:,} bytes; the limit is {limit:,}")


def deadline_ms(
    requested_ms: int | None,
    stored_ms: int,
    now_ms: int,
    total_s: float,
    max_s: float = LONGEST_S["interactive"],
) -> int:
    """The deadline of a request; all instants are Unix milliseconds.

    Without `requested_ms` it is `total_s`, the role's time for the lane, after JetStream stored the request. It is at
    most `max_s`, the lane's limit, after that, so that nothing waits in a mailbox for ever. Raises DeadlinePast.
    """
    wanted_ms = stored_ms + round(total_s * 1000) if requested_ms is None else requested_ms
    until_ms = min(wanted_ms, stored_ms + round(max_s * 1000))
    if until_ms <= now_ms:
        raise DeadlinePast(until_ms, now_ms)
    return until_ms


def check_size(size: int, limit: int) -> None:
    """Raise TooLarge for a body of `size` bytes above `limit`."""
    if size > limit:
        raise TooLarge(size, limit)
