"""A worker's share of what is free: proportional to the requests that wait behind it.

Equal shares per worker would make a role with few workers wait long beside a role with many, while the router
forecasts one queue for all roles that share a quota.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from penstock.contract.quota import QuotaLease

__all__ = ["fair_share"]


def fair_share(mine: QuotaLease, leases: Iterable[QuotaLease]) -> float:
    """Share of what is free for the holder of `mine`, beside the `leases` of workers that hold something or wait.

    Count every waiting worker, even a new one; otherwise the longest waiter would take everything.
    """
    sharers = [mine, *(each for each in leases if each.holder != mine.holder and _shares(each))]
    if any(
        each.queued is None for each in sharers
    ):  # a worker of an older version does not report its queues
        return 1 / len(sharers)
    takers = Counter(mailbox for each in sharers for mailbox, _ in each.queued or ())
    return _weight(mine, takers) / sum(_weight(each, takers) for each in sharers)


def _shares(lease: QuotaLease) -> bool:
    return bool(lease.requests or lease.tokens or lease.slots or lease.waits_since_ms is not None)


def _weight(lease: QuotaLease, takers: Counter[str]) -> float:
    """Requests in the mailboxes from which the worker pulls, its part by its own count. Requests in flight are not
    included: they may be batch work, which must not draw leases from the reserve.
    """
    behind = sum(number / takers[mailbox] for mailbox, number in lease.queued or ())
    return max(1.0, behind)
