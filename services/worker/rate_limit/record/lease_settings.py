"""Durations by which leases are granted, and the amounts that a lease counts."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

__all__ = [
    "LEARNED_LEASE_SETTINGS",
    "LEASE_RETURNED_S",
    "LEASE_SETTINGS",
    "NOTHING",
    "UNLIMITED",
    "Amounts",
    "LeaseSettings",
]

UNLIMITED: Final = 1 << 53
"""Amount that is free where no limit is set; JSON numbers are exact up to here."""
LEASE_RETURNED_S: Final = 1.5
"""Seconds until an idle lease is spent or returned, with the write that reports it."""


class Amounts(Struct, frozen=True):
    """Requests, their tokens, and slots among the concurrent calls."""

    requests: int = 0
    tokens: int = 0
    slots: int = 0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(self.requests + other.requests, self.tokens + other.tokens, self.slots + other.slots)

    def __sub__(self, other: Amounts) -> Amounts:
        return Amounts(self.requests - other.requests, self.tokens - other.tokens, self.slots - other.slots)

    def covers(self, need: Amounts) -> bool:
        return self.requests >= need.requests and self.tokens >= need.tokens and self.slots >= need.slots

    def at_least_0(self) -> Amounts:
        return Amounts(max(0, self.requests), max(0, self.tokens), max(0, self.slots))


NOTHING: Final = Amounts()


class LeaseSettings(Struct, frozen=True, kw_only=True):
    """Milliseconds, except `ahead_s`."""

    minute_ms: int = 60_000
    minute_grain_ms: int = 500
    day_ms: int = 86_400_000
    day_grain_ms: int = 1_440_000
    margin_ms: int = 500
    """Added to each window: one call may take longer to the provider than a later one."""
    lease_ms: int = 5_000
    """Length of a lease: a worker that does not renew within this loses it."""
    member_ms: int = 60_000
    """Length of the entry of a worker that holds nothing."""
    grace_ms: int = 500
    """The holder stops this long before its lease ends, and the others wait this long after it."""
    ahead_s: float = 0.5
    """Seconds of work that a worker leases beyond its waiting requests."""


LEASE_SETTINGS: Final = LeaseSettings()
"""Settings of a configured limit."""
LEARNED_LEASE_SETTINGS: Final = LeaseSettings(minute_grain_ms=100, margin_ms=0)
"""Settings of a learned limit: without a margin, since the provider would admit what the margin holds back."""
