"""Which part of what is free a worker takes: as much as there are requests that wait behind it.

Parts by the number of workers would let a role with few workers wait for long beside one with many, and the router
foresees one line for all roles that share a quota.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from penstock.contract.quota import QuotaLease

__all__ = ["fair_share"]


def fair_share(mine: QuotaLease, leases: Iterable[QuotaLease]) -> float:
    """Of all that is free, for `mine`, whose holder asks; beside the `leases` of those who hold something or wait.

    Who waits counts, for however short a time: else who has waited longest would take all that there is.
    """
    sharers = [mine, *(each for each in leases if each.holder != mine.holder and _shares(each))]
    if any(each.queued is None for each in sharers):  # somebody of an older version does not say
        return 1 / len(sharers)
    takers = Counter(mailbox for each in sharers for mailbox, _ in each.queued or ())
    return _weight(mine, takers) / sum(_weight(each, takers) for each in sharers)


def _shares(lease: QuotaLease) -> bool:
    return bool(lease.requests or lease.tokens or lease.slots or lease.waits_since_ms is not None)


def _weight(lease: QuotaLease, takers: Counter[str]) -> float:
    """Its part of those in the mailboxes from which it takes; each worker has its own word on how many these are. What
    is in its hands gives no weight: that may be batch work, which shall draw no lease from what it leaves to others.
    """
    behind = sum(number / takers[mailbox] for mailbox, number in lease.queued or ())
    return max(1.0, behind)
