"""When a worker writes to a shared record: seldom while nothing happens, soon when somebody waits."""

from __future__ import annotations

from typing import Final

from services.worker.rate_limit.record.allocation import Plan, Report, lease_of
from services.worker.rate_limit.record.lease_settings import Amounts
from services.worker.rate_limit.shared.replica import Copy

__all__ = ["PACE_S", "due_s", "is_worth_it"]

PACE_S: Final = 0.1
"""Between two writes that are in no hurry; a pause is written at once."""
_TELL_S: Final = 0.5
"""What was spent is told after this long."""
_SOON_S: Final = 0.05


def due_s(copy: Copy, wrote_s: float, now_s: float) -> float:
    """When the next write is due if nothing happens until then; `wrote_s`: the last one."""
    desk, terms = copy.desk, copy.book.terms
    if not desk.holds and not desk.has_news and desk.demand.first is None:
        return max(now_s + _SOON_S, wrote_s + terms.member_ms / 3000)
    due = [wrote_s + terms.lease_ms / 3000]
    if desk.has_news:
        due.append(wrote_s + _TELL_S)
    if desk.holds and not desk.demand.is_idle(now_s):
        due.append(desk.demand.idle_at_s() + _SOON_S)
    first = desk.demand.first
    if first is not None:
        found = copy.view.wait_s(copy.need(first), now_s)
        wait_s = 0.0 if found is None else found[0]
        due.append(now_s + max(_SOON_S, wait_s, copy.gate.until_s - now_s))
    return max(now_s + _SOON_S, min(due))


def is_worth_it(copy: Copy, report: Report, made: Plan) -> bool:
    """Whether the write would change anything that somebody needs to know."""
    mine = lease_of(copy.view.record or made.record, copy.holder)
    terms = copy.book.terms
    busy = made.waits or made.held != Amounts() or report.running > 0
    stale_ms = mine.until_ms - made.record.at_ms - (terms.lease_ms if busy else terms.member_ms) * 2 // 3
    return bool(
        copy.others_are_behind
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
