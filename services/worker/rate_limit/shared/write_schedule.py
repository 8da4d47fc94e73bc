"""When a worker writes to a shared record: seldom while nothing happens, soon when somebody waits."""

from __future__ import annotations

from typing import Final

from services.worker.rate_limit.record.allocation import Allocation, Report, lease_of
from services.worker.rate_limit.record.lease_settings import Amounts
from services.worker.rate_limit.shared.replica import Replica

__all__ = ["PACE_S", "due_s", "is_worth_it"]

PACE_S: Final = 0.1
"""Between two writes that are in no hurry; a pause is written at once."""
_TELL_S: Final = 0.5
"""What was spent is told after this long."""
_SOON_S: Final = 0.05


def due_s(replica: Replica, wrote_s: float, now_s: float) -> float:
    """When the next write is due if nothing happens until then; `wrote_s`: the last one."""
    lease, settings = replica.lease, replica.accounting.settings
    if not lease.holds and not lease.has_unreported and lease.demand.first is None:
        return max(now_s + _SOON_S, wrote_s + settings.member_ms / 3000)
    due = [wrote_s + settings.lease_ms / 3000]
    if lease.has_unreported:
        due.append(wrote_s + _TELL_S)
    if lease.holds and not lease.demand.is_idle(now_s):
        due.append(lease.demand.idle_at_s() + _SOON_S)
    first = lease.demand.first
    if first is not None:
        found = replica.view.wait_s(replica.need(first), now_s)
        wait_s = 0.0 if found is None else found[0]
        due.append(now_s + max(_SOON_S, wait_s, replica.cooldown.until_s - now_s))
    return max(now_s + _SOON_S, min(due))


def is_worth_it(replica: Replica, report: Report, made: Allocation) -> bool:
    """Whether the write would change anything that somebody needs to know."""
    mine = lease_of(replica.view.record or made.record, replica.holder)
    settings = replica.accounting.settings
    busy = made.waits or made.held != Amounts() or report.running > 0
    stale_ms = (
        mine.until_ms - made.record.at_ms - (settings.lease_ms if busy else settings.member_ms) * 2 // 3
    )
    return bool(
        replica.newcomer_needs_time
        or report.spent
        or report.refunded
        or report.pause
        or report.corrections
        or report.refusals
        or report.said
        or made.held != Amounts(mine.requests, mine.tokens, mine.slots)
        or made.waits != (mine.waits_since_ms is not None)
        or stale_ms < 0
    )
