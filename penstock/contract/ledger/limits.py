"""The state of one budget limit, in answers of the ledger and in reply events."""

from __future__ import annotations

from msgspec import Struct

from penstock.contract.ledger.policies import LimitName, Scope, TrafficClass

__all__ = ["LimitStatus"]


class LimitStatus(Struct, frozen=True, kw_only=True):
    """One limit at one moment. Amounts are requests, tokens or micro-dollars, as the name of the limit says."""

    scope: Scope
    limit: LimitName
    traffic: TrafficClass | None = None
    """The part of the traffic to which the limit applies; None: all of it."""
    allowed: int
    spent: int = 0
    held: int = 0
    left: int = 0
    """`allowed` - `spent` - `held`, never negative."""
    resets_at_ms: int = 0
    """When the current period ends, Unix milliseconds; 0: the limit has no period."""
    soft: bool = False
