"""Alerts: a budget per day or month reached 80 percent, or is used up. Each is raised once per period."""

from __future__ import annotations

from typing import Final

from penstock.contract.ledger.holds import HoldRequest
from penstock.contract.ledger.journal import Alerted, Settled
from penstock.contract.ledger.policies import BudgetPolicy, Scope
from services.ledger.budget.book import Book
from services.ledger.budget.counters import MONEY, Values, starts_at_s, was_alerted
from services.ledger.budget.decisions import asked_by, scopes_of
from services.ledger.budget.limits import PICOUSD, CompiledPolicies, Limit, used
from services.ledger.budget.policies import Policies

__all__ = ["alerts_of_refusal", "alerts_of_settlement"]

_PERCENTS: Final = (80, 100)


def alerts_of_settlement(
    book: Book, compiled: CompiledPolicies, policies: Policies, entry: Settled, now_ms: int
) -> list[Alerted]:
    """The shares that spending has reached and that no alert told in this period."""
    found: list[Alerted] = []
    for scope, account, name, policy in _policies_of(book, policies, entry):
        for limit in compiled.of(policy).alerting:
            if limit.traffic not in (None, entry.traffic):
                continue
            values = book.values_of(scope, account, name, limit.traffic)
            if values is None:
                continue
            spent, _ = used(values, limit.kind, now_ms // 1000)
            found += [
                _alerted((scope, account, name), limit, values, percent, now_ms)
                for percent in _PERCENTS
                if spent and spent * 100 >= limit.allowed * percent
                if not was_alerted(values, limit.kind, percent)
            ]
    return found


def alerts_of_refusal(
    book: Book, compiled: CompiledPolicies, policies: Policies, request: HoldRequest, now_ms: int
) -> list[Alerted]:
    """Budgets without room for a refused request, although they allow that much, are used up."""
    found: list[Alerted] = []
    asked = asked_by(book, request)
    for scope in scopes_of(book, compiled, policies, request):
        for limit in scope.limits.alerting:
            values = scope.total if limit.traffic is None else scope.of_class
            if values is None or limit.traffic not in (None, request.traffic):
                continue
            spent, _ = used(values, limit.kind, now_ms // 1000)
            need = asked.need[limit.kind.unit]
            no_room = limit.allowed - spent < need <= limit.allowed
            if no_room and not limit.soft and not was_alerted(values, limit.kind, 100):
                found.append(_alerted((scope.scope, scope.account, scope.name), limit, values, 100, now_ms))
    return found


def _policies_of(
    book: Book, policies: Policies, entry: Settled
) -> list[tuple[Scope, str, str, BudgetPolicy]]:
    account = entry.account
    if book.system:
        return [("system", "", "", policies.system())]
    found: list[tuple[Scope, str, str, BudgetPolicy]] = [("account", account, "", policies.account(account))]
    if entry.user:
        found.append(("user", account, entry.user, policies.user(account, entry.user)))
    if entry.key:
        found.append(("key", account, entry.key, policies.key(account, entry.key)))
    return found


def _alerted(
    whose: tuple[Scope, str, str], limit: Limit, values: Values, percent: int, now_ms: int
) -> Alerted:
    scope, account, name = whose
    spent, _ = used(values, limit.kind, now_ms // 1000)
    unit = PICOUSD if limit.kind.unit == MONEY else 1
    return Alerted(
        scope=scope,
        account=account,
        name=name,
        limit=limit.kind.name,
        percent=percent,
        period_start_s=starts_at_s(values, limit.kind),
        spent=(spent + unit // 2) // unit,
        allowed=limit.allowed // unit,
        at_ms=now_ms,
        traffic=limit.traffic,
    )
