"""The rate at which the requests of each account are taken, as the catalogue has it. Pure but for the clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from penstock.bus.clock import Clock
from penstock.runtime.config.accounts import AccountRules, IntakeRate, intake_rate_of

__all__ = ["IntakeRates", "limits_intake"]

_MOST_BUCKETS: Final = 10_000
"""Accounts that are remembered; a forgotten one has its whole burst again."""


def limits_intake(accounts: Mapping[str, AccountRules], every_account: IntakeRate) -> bool:
    """Whether any account has a rate."""
    return any(rate.requests_per_s is not None for rate in (every_account, *accounts.values()))


class _Bucket(Struct):
    tokens: float
    at_s: float


class IntakeRates:
    """A token bucket for each account. Of several routers each takes its share of the rate and of the burst."""

    def __init__(
        self,
        accounts: Mapping[str, AccountRules],
        every_account: IntakeRate,
        routers: Callable[[], int],
        clock: Clock,
    ) -> None:
        """`routers`: the number of live routers, this one included."""
        self._accounts = accounts
        self._every_account = every_account
        self._routers = routers
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def refused_s(self, account: str) -> float | None:
        """None: the request is taken. Else the seconds until the account may send one more."""
        rate = intake_rate_of(account, self._accounts, self._every_account)
        if rate.requests_per_s is None:
            return None
        routers = self._routers()
        per_s, burst = rate.requests_per_s / routers, max(1.0, rate.burst_or_default / routers)
        now_s = self._clock.monotonic_s()
        bucket = self._buckets.get(account)
        if bucket is None:
            bucket = self._remember(account, _Bucket(burst, now_s))
        bucket.tokens = min(burst, bucket.tokens + (now_s - bucket.at_s) * per_s)
        bucket.at_s = now_s
        if bucket.tokens < 1.0:
            return (1.0 - bucket.tokens) / per_s
        bucket.tokens -= 1.0
        return None

    def _remember(self, account: str, bucket: _Bucket) -> _Bucket:
        if len(self._buckets) >= _MOST_BUCKETS:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[account] = bucket
        return bucket
