"""The figures by which leases are given, and what a lease counts."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

__all__ = ["LEARNED_LEASE_SETTINGS", "LEASE_SETTINGS", "NOTHING", "UNLIMITED", "Amounts", "LeaseSettings"]

UNLIMITED: Final = 1 << 53
"""What is free where no limit is set; JSON numbers are exact up to here."""


class Amounts(Struct, frozen=True):
    """Requests, their tokens, and places among the concurrent calls."""

    requests: int = 0
    tokens: int = 0
    slots: int = 0


NOTHING: Final = Amounts()


class LeaseSettings(Struct, frozen=True, kw_only=True):
    """Milliseconds, but for `ahead_s`."""

    minute_ms: int = 60_000
    minute_grain_ms: int = 500
    day_ms: int = 86_400_000
    day_grain_ms: int = 1_440_000
    margin_ms: int = 500
    """Kept beyond each window: a call may take longer to the provider than a later one does."""
    lease_ms: int = 5_000
    """A worker that does not renew within this has lost its lease."""
    member_ms: int = 60_000
    """A worker that holds nothing is counted for this long."""
    grace_ms: int = 500
    """The holder stops this long before its lease ends, and others wait this long after it."""
    ahead_s: float = 0.5
    """How much work a worker leases beyond what waits."""


LEASE_SETTINGS: Final = LeaseSettings()
LEARNED_LEASE_SETTINGS: Final = LeaseSettings(minute_grain_ms=100, margin_ms=0)
"""Of a limit that is learned: what its record counts a moment too long, a provider would have let through."""
