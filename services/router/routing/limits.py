"""The rules of a request's envelope: how long it may take, how large it may be."""

from __future__ import annotations

from typing import Final

from penstock.contract.deadlines import LONGEST_S

__all__ = ["DeadlinePast", "TooLarge", "check_size", "deadline_ms"]

_NO_INSTANT_BELOW_MS: Final = 100_000_000_000
"""1973 as milliseconds, and the year 5138 as seconds: a duration, or seconds for milliseconds."""


class DeadlinePast(ValueError):
    """The request was late when it came."""

    def __init__(self, until_ms: int, now_ms: int) -> None:
        if until_ms < _NO_INSTANT_BELOW_MS < now_ms:
            soon_ms = now_ms + 60_000
            words = f"deadline_ms {until_ms} is long past: an instant in milliseconds since 1970 is meant, as {soon_ms}"
        else:
            words = f"the deadline passed {now_ms - until_ms:,} ms before the request was routed"
        super().__init__(words)


class TooLarge(ValueError):
    """The body has more bytes than are allowed."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the body has {size:,} bytes; the limit is {limit:,}")


def deadline_ms(
    asked_ms: int | None,
    stored_ms: int,
    now_ms: int,
    total_s: float,
    max_s: float = LONGEST_S["interactive"],
) -> int:
    """When the request must be over, in milliseconds of the Unix epoch, as all instants here are.

    Without a wish it is the role's `total_s` for the lane from when JetStream stored the request; no deadline lies
    more than `max_s`, the lane's, after that, so that nothing waits in a mailbox for ever. Raises DeadlinePast.
    """
    wished_ms = stored_ms + round(total_s * 1000) if asked_ms is None else asked_ms
    until_ms = min(wished_ms, stored_ms + round(max_s * 1000))
    if until_ms <= now_ms:
        raise DeadlinePast(until_ms, now_ms)
    return until_ms


def check_size(size: int, limit: int) -> None:
    """Raises TooLarge for a body of `size` bytes above `limit`."""
    if size > limit:
        raise TooLarge(size, limit)
