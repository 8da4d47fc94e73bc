"""A worker's static share of a quota, for as long as the shared record is out of reach."""

from __future__ import annotations

from penstock.contract.quota import QuotaRecord
from penstock.runtime.config.catalogue import Limits
from services.worker.rate_limit.limit_set import LimitSet
from services.worker.rate_limit.record.accounting import RecordAccounting

__all__ = ["alone"]


def alone(
    accounting: RecordAccounting, record: QuotaRecord | None, holder: str, now_ms: int, now_s: float
) -> LimitSet:
    """An equal part of each limit, one per worker that the record named last and `holder` itself; at least one of each.

    What the record says is spent or leased counts as gone: workers that fall back upon the same record stay within
    the limit together. `now_ms` is on the record's clock, `now_s` on ours.
    """
    leases = () if record is None else record.leases
    sharers = len({holder, *(lease.holder for lease in leases)})
    limits = accounting.limits
    learned = None if record is None else record.learned
    if accounting.learns and learned is not None:
        # As far as is known nothing is left of it: it is learned where a provider refuses.
        part = max(1, int(learned.per_minute) // sharers)
        limit_set = LimitSet(Limits(requests_per_minute=part, kind="token_bucket"))
        limit_set.count_as_used("requests_per_minute", part, now_s)
        return limit_set
    limit_set = LimitSet(
        Limits(
            requests_per_minute=_part(limits.requests_per_minute, sharers),
            tokens_per_minute=_part(limits.tokens_per_minute, sharers),
            requests_per_day=_part(limits.requests_per_day, sharers),
            tokens_per_day=_part(limits.tokens_per_day, sharers),
            concurrency=_part(limits.concurrency, sharers),
            kind=limits.kind,
        )
    )
    for gauge in () if record is None else accounting.gauges(record, now_ms):
        part = _part(getattr(limits, gauge.name), sharers) or 0
        limit_set.count_as_used(gauge.name, part - max(0, gauge.free) // sharers, now_s)
    return limit_set


def _part(limit: int | None, sharers: int) -> int | None:
    return None if limit is None else max(1, limit // sharers)
