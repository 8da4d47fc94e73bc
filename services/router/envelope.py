"""The rules of a request's envelope: how long it may take, how large it may be."""

from __future__ import annotations

__all__ = ["DeadlinePast", "TooLarge", "check_size", "deadline_ms"]


class DeadlinePast(ValueError):
    """The request was late when it came."""

    def __init__(self, late_by_ms: int) -> None:
        super().__init__(f"the deadline passed {late_by_ms:,} ms before the request arrived")


class TooLarge(ValueError):
    """The body has more bytes than are allowed."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the body has {size:,} bytes; the limit is {limit:,}")


def deadline_ms(asked_ms: int | None, now_ms: int, total_s: float, max_s: float = 3600) -> int:
    """When the request must be over, in milliseconds of the Unix epoch, as `asked_ms` and `now_ms` are.

    Without a wish it is the role's `total_s` from now; no deadline lies more than `max_s` ahead, so that
    nothing waits in a mailbox for ever. Raises DeadlinePast.
    """
    if asked_ms is None:
        return now_ms + round(min(total_s, max_s) * 1000)
    if asked_ms <= now_ms:
        raise DeadlinePast(now_ms - asked_ms)
    return min(asked_ms, now_ms + round(max_s * 1000))


def check_size(size: int, limit: int) -> None:
    """Raises TooLarge for a body of `size` bytes above `limit`."""
    if size > limit:
        raise TooLarge(size, limit)
