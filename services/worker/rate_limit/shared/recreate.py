"""A record whose bucket was lost, made again from what a worker remembers of it."""

from __future__ import annotations

from msgspec.structs import replace

from penstock.contract.quota import QuotaLease, QuotaRecord
from services.worker.rate_limit.record.accounting import RecordAccounting
from services.worker.rate_limit.record.window import merged

__all__ = ["rebuilt"]


def rebuilt(
    known: QuotaRecord, found: QuotaRecord | None, holder: str, accounting: RecordAccounting, now_ms: int
) -> QuotaRecord:
    """`known`, carried on. The other workers have lived on their static share meanwhile and not told of it yet: that
    much is set aside for each of them until it does, or until its lease ends.

    `found`: what a newcomer, who knows nothing of the past, has begun in its place.
    """
    sharers = max(1, len(known.leases))
    limits = accounting.limits
    requests = max(limits.requests_per_minute or limits.requests_per_day or 0, 1) // sharers
    tokens = (limits.tokens_per_minute or limits.tokens_per_day or 0) // sharers
    until_ms = now_ms + accounting.settings.lease_ms

    def reserved(lease: QuotaLease) -> QuotaLease:
        if lease.holder == holder:
            return lease
        return replace(
            lease,
            until_ms=until_ms,
            requests=max(lease.requests, requests),
            tokens=max(lease.tokens, tokens),
            waits_since_ms=None,
        )

    leases = {lease.holder: reserved(lease) for lease in known.leases}
    minute, day = known.minute, known.day
    if found is not None:
        # A newcomer's clock began anew: all it has spent counts from now.
        spent = (sum(grain[1] for grain in found.minute), sum(grain[2] for grain in found.minute))
        minute = merged(minute, [(accounting.minute.grain(now_ms), *spent)])
        day = merged(day, [(accounting.day.grain(now_ms), *spent)])
        leases |= {lease.holder: replace(lease, until_ms=until_ms) for lease in found.leases}
    return replace(known, at_ms=now_ms, minute=minute, day=day, leases=tuple(leases.values()))
