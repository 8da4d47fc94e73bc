"""What is left of the budgets of one scope."""

from __future__ import annotations

from penstock.contract.ledger.status import BudgetQuery, BudgetStatus
from services.ledger.budget.book import Book
from services.ledger.budget.counters import HELD_MONEY, KINDS, OPEN, Values, ends_at_s
from services.ledger.budget.limits import CompiledPolicies, Limit, microusd, status_of, used
from services.ledger.budget.policies import Policies

__all__ = ["budget_status"]


def budget_status(
    book: Book, compiled: CompiledPolicies, policies: Policies, query: BudgetQuery, now_ms: int
) -> BudgetStatus:
    now_s = max(now_ms, book.last_ms) // 1000
    time_zone = policies.time_zone("" if book.system else query.account)
    if query.scope == "system":
        policy = policies.system()
    elif query.scope == "account":
        policy = policies.account(query.account)
    elif query.scope == "user":
        policy = policies.user(query.account, query.name)
    else:
        policy = policies.key(query.account, query.name)
    total = book.values_of(query.scope, query.account, query.name)
    use = book.use_of(query.account) if query.scope in ("system", "account") and total is not None else None

    def counted(limit: Limit) -> Values | None:
        if limit.traffic is None:
            return total
        return use.classes.get(limit.traffic) if use is not None else None

    limits = compiled.of(policy)
    statuses = [
        status_of(
            query.scope,
            limit,
            used(counted(limit), limit.kind, now_s),
            ends_at_s(counted(limit), limit.kind, now_s, time_zone, book.calendar) * 1000,
        )
        for limit in limits.limits
    ]
    statuses += [status_of(query.scope, limit, (0, 0), 0) for limit in limits.output_tokens]
    return BudgetStatus(
        scope=query.scope,
        account=query.account,
        name=query.name,
        policy=policy,
        limits=tuple(statuses),
        spent_today_microusd=microusd(used(total, KINDS["microusd_per_day"], now_s)[0]),
        spent_this_month_microusd=microusd(used(total, KINDS["microusd_per_month"], now_s)[0]),
        held_microusd=microusd(total[HELD_MONEY]) if total is not None else 0,
        open_holds=total[OPEN] if total is not None else 0,
    )
