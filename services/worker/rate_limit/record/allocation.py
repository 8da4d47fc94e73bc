"""One worker's write to the shared record: what it spent, returns and requests, and the lease that it gets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from penstock.contract.quota import Grain, QuotaCorrection, QuotaLearned, QuotaLease, QuotaRecord
from services.worker.rate_limit.learned.rate import Refusal, alive, dropped, learned_from, plausible, refused
from services.worker.rate_limit.record.accounting import RecordAccounting, earlier_waiters
from services.worker.rate_limit.record.bucket_levels import folded
from services.worker.rate_limit.record.lease_settings import NOTHING, Amounts
from services.worker.rate_limit.record.provider_corrections import latest
from services.worker.rate_limit.record.window_grains import GrainedWindow, Kind, merged

__all__ = ["Allocation", "LeaseReport", "allocate", "fair_share", "lease_of"]


class LeaseReport(Struct, frozen=True, kw_only=True):
    """Contents of one write of a worker."""

    holder: str
    number: int
    """One more than that of the write before."""
    spent: tuple[Grain, ...] = ()
    """Spent since the last write, by grain of the minute's window."""
    refunded: tuple[Grain, ...] = ()
    """Returned of what was reported earlier; negative."""
    want: Amounts = NOTHING
    """Unspent amounts to hold after this write. If less than is held, the rest is returned."""
    first: Amounts | None = None
    """Need of the longest waiting request, including what is held; None: no request waits."""
    running: int = 0
    """Calls in flight."""
    batch_only: bool = False
    """Only batch requests ask: the worker leases nothing of the reserve and does not queue for it."""
    queued: Mapping[str, int] | None = None
    """Requests waiting in the mailboxes it pulls from; None: not known."""
    pause: tuple[int, str] | None = None
    """End of a pause on the record's clock, and the reason."""
    corrections: tuple[QuotaCorrection, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    """429s of a provider whose limit is learned."""
    header_limits: Mapping[Kind, int] = {}
    """Limits per minute in the headers of such a provider."""
    leaving: bool = False


class Allocation(Struct, frozen=True):
    record: QuotaRecord
    """Stored if no other worker has written meanwhile."""
    held: Amounts
    """What the worker may spend once the record is stored."""
    until_ms: int
    waits: bool
    """The worker requested more than is free, and is queued."""


def allocate(
    record: QuotaRecord, report: LeaseReport, accounting: RecordAccounting, now_ms: int
) -> Allocation:
    """Fold the report into the record, then allocate what is free. Pure; the caller stores by compare-and-set."""
    now_ms = max(now_ms, record.at_ms)
    mine = lease_of(record, report.holder)
    record = _with_lapsed_as_spent(record, report.holder, accounting, now_ms)
    record = _with_spent(record, (*report.spent, *report.refunded), accounting, now_ms)
    record = _with_corrections(record, report, now_ms)
    if accounting.is_learned:
        learned = _learned(record.learned, report, accounting.minute, now_ms)
        record = replace(record, learned=learned)
    spent = Amounts(sum(grain[1] for grain in report.spent), sum(grain[2] for grain in report.spent))
    held = (Amounts(mine.requests, mine.tokens, mine.slots) - spent).at_least_0()
    since_ms = now_ms if mine.waits_since_ms is None else mine.waits_since_ms
    got, waits = _share_out(record, report, held, accounting, now_ms, since_ms)
    busy = waits or got != NOTHING or report.running > 0
    until_ms = now_ms + (accounting.settings.lease_ms if busy else accounting.settings.member_ms)
    lease = replace(
        _empty_lease(report),
        until_ms=until_ms,
        requests=got.requests,
        tokens=got.tokens,
        slots=got.slots,
        waits_since_ms=since_ms if waits else None,
        waits_for_tokens=report.first.tokens if waits and report.first is not None else 0,
    )
    others = tuple(each for each in record.leases if each.holder != report.holder)
    leases = others if report.leaving else (*others, lease)
    return Allocation(replace(record, at_ms=now_ms, leases=leases), got, until_ms, waits)


def _empty_lease(report: LeaseReport) -> QuotaLease:
    """An empty lease with the queue lengths of its holder."""
    return QuotaLease(
        holder=report.holder,
        number=report.number,
        until_ms=0,
        queued=None if report.queued is None else tuple(report.queued.items()),
    )


def lease_of(record: QuotaRecord, holder: str) -> QuotaLease:
    """The worker's lease, or an empty one."""
    for lease in record.leases:
        if lease.holder == holder:
            return lease
    return QuotaLease(holder=holder, number=0, until_ms=0)


def _with_lapsed_as_spent(
    record: QuotaRecord, holder: str, accounting: RecordAccounting, now_ms: int
) -> QuotaRecord:
    """Count the leases of dead workers as spent at their end: what was spent of them, and when, is unknown."""
    lapsed = [
        lease
        for lease in record.leases
        if lease.until_ms + accounting.settings.grace_ms <= now_ms and lease.holder != holder
    ]
    if not lapsed:
        return record
    gone = {lease.holder for lease in lapsed}
    spent = [(accounting.minute.grain(lease.until_ms), lease.requests, lease.tokens) for lease in lapsed]
    leases = tuple(lease for lease in record.leases if lease.holder not in gone)
    return _with_spent(replace(record, leases=leases), spent, accounting, now_ms)


def _with_spent(
    record: QuotaRecord, spent: Iterable[Grain], accounting: RecordAccounting, now_ms: int
) -> QuotaRecord:
    spent = tuple(spent)
    days = (
        (accounting.day.grain(grain * accounting.minute.grain_ms), requests, tokens)
        for grain, requests, tokens in spent
    )
    day = record.day
    if accounting.limits.requests_per_day is not None or accounting.limits.tokens_per_day is not None:
        day = accounting.day.alive(merged(day, days) if spent else day, now_ms)
    if accounting.has_buckets:
        buckets = accounting.buckets(record, now_ms)
        carried, minute = folded(record.carried, record.minute, spent, buckets, accounting.minute, now_ms)
        return replace(record, carried=carried, minute=minute, day=day)
    minute = accounting.minute.alive(merged(record.minute, spent) if spent else record.minute, now_ms)
    return replace(record, minute=minute, day=day)


def _with_corrections(record: QuotaRecord, report: LeaseReport, now_ms: int) -> QuotaRecord:
    """Apply a pause and corrections that are newer than the stored ones; remove expired ones."""
    corrections = {each.limit: each for each in record.corrections}
    for each in report.corrections:
        corrections[each.limit] = latest(corrections.get(each.limit, each), each)
    in_force = (
        each for each in corrections.values() if max(each.ceiling_until_ms, each.withheld_until_ms) > now_ms
    )
    record = replace(record, corrections=tuple(in_force))
    if report.pause is None or report.pause[0] <= record.paused_until_ms:
        return record
    return replace(record, paused_until_ms=report.pause[0], pause_reason=report.pause[1])


def _share_out(
    record: QuotaRecord,
    report: LeaseReport,
    held: Amounts,
    accounting: RecordAccounting,
    now_ms: int,
    since_ms: int,
) -> tuple[Amounts, bool]:
    """What the worker holds from now on, and whether it is queued for more.

    A waiting worker gets all that its first request needs or nothing: two workers that each hold half of what a request
    needs would wait for ever. Beyond that every worker takes its share of what is free. Leases never exceed what is
    free, except in a record that was rebuilt.
    """
    free = accounting.free(record, now_ms, without=report.holder, leave_reserve=report.batch_only)
    held = Amounts(
        min(held.requests, max(0, free.requests)),
        min(held.tokens, max(0, free.tokens)),
        min(held.slots, max(0, free.slots)),
    )
    earlier = earlier_waiters(record, report.holder, since_ms)
    claims = Amounts(len(earlier), sum(lease.waits_for_tokens for lease in earlier), len(earlier))
    extra = (free - held - claims).at_least_0()
    share = fair_share(_empty_lease(report), record.leases)
    first = report.first
    if first is None:
        return _granted(held, extra, report, NOTHING, share), False
    if record.paused_until_ms > now_ms or not (held + extra).covers(first):
        waits = record.paused_until_ms <= now_ms and not report.batch_only
        return Amounts(slots=report.running), waits
    return _granted(held, extra, report, first, share), False


def _granted(held: Amounts, extra: Amounts, report: LeaseReport, least: Amounts, share: float) -> Amounts:
    def one(have: int, more: int, want: int, least: int) -> int:
        return max(min(want, have + int(more * share)), least)

    want = report.want
    return Amounts(
        one(held.requests, extra.requests, want.requests, least.requests),
        one(held.tokens, extra.tokens, want.tokens, least.tokens),
        max(one(held.slots, extra.slots, want.slots, least.slots), report.running),
    )


def _learned(
    known: QuotaLearned | None, report: LeaseReport, window: GrainedWindow, now_ms: int
) -> QuotaLearned | None:
    """The learned limit after a report (decision 0018)."""
    if dropped(known, now_ms):
        return known
    found = known if alive(known, now_ms) else None
    if found is not None:
        since = window.grain(found.measured_from_ms)
        calls = sum(grain[1] for grain in report.spent if grain[0] >= since)
        found = replace(found, calls=found.calls + calls)
    for refusal in report.refusals:
        found = learned_from(refusal) if found is None else refused(found, refusal)
    if found is not None and report.header_limits:
        requests = report.header_limits.get("requests")
        if requests is not None and plausible(found, requests):
            found = replace(found, reported_per_minute=requests)
        found = replace(found, tokens_per_minute=report.header_limits.get("tokens", found.tokens_per_minute))
    return found


def fair_share(mine: QuotaLease, leases: Iterable[QuotaLease]) -> float:
    """Share of what is free for the holder of `mine`, beside the `leases` of workers that hold something or wait:
    proportional to the requests that wait behind each. Equal shares would make a role with few workers wait long beside
    a role with many, while the router forecasts one queue for all roles that share a quota.

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
