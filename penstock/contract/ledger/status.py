"""What is left of the budgets of one scope."""

from __future__ import annotations

from msgspec import Struct

from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.ledger.policies import BudgetPolicy, Scope

__all__ = ["BudgetQuery", "BudgetReport", "BudgetStatus"]


class BudgetQuery(Struct, frozen=True, kw_only=True, tag="budget_query", tag_field="type"):
    """What is left of the budgets of an account, a user, a key or the whole system."""

    scope: Scope
    account: str = ""
    name: str = ""
    """The user or the prefix of the key."""
    v: int = 1


class BudgetStatus(Struct, frozen=True, kw_only=True):
    """The policy that applies to one scope, and the use of its limits."""

    scope: Scope
    account: str = ""
    name: str = ""
    policy: BudgetPolicy
    """With the limits of its tier and of the configuration filled in."""
    limits: tuple[LimitStatus, ...] = ()
    spent_today_microusd: int = 0
    spent_this_month_microusd: int = 0
    held_microusd: int = 0
    open_holds: int = 0


class BudgetReport(Struct, frozen=True, kw_only=True, tag="budget_report", tag_field="type"):
    """The answer to a budget query."""

    status: BudgetStatus
    at_ms: int
    v: int = 1
