"""Policies, hold requests and usage events for tests of the budget ledger."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field, structs

from penstock.contract.events import UsageRecorded
from penstock.contract.ledger.holds import HoldRequest
from penstock.contract.ledger.policies import BudgetLimits, BudgetPolicy

__all__ = ["FixedPolicies", "account_policy", "hold_request", "policies", "usage_of"]


class FixedPolicies(Struct, kw_only=True):
    """The same policy for each account, user and key, except those with their own in `others`."""

    of_system: BudgetPolicy
    of_account: BudgetPolicy
    of_user: BudgetPolicy
    of_key: BudgetPolicy
    zone: str = ""
    when_price_unknown: Literal["refuse", "count_tokens"] = "refuse"
    others: dict[tuple[str, ...], BudgetPolicy] = field(default_factory=dict)
    """By (account,), (account, user) or (account, key)."""
    zones: dict[str, str] = field(default_factory=dict)

    def system(self) -> BudgetPolicy:
        return self.of_system

    def account(self, account: str) -> BudgetPolicy:
        return self.others.get((account,), self.of_account)

    def user(self, account: str, user: str) -> BudgetPolicy:
        return self.others.get((account, user), self.of_user)

    def key(self, account: str, key: str) -> BudgetPolicy:
        return self.others.get((account, key), self.of_key)

    def time_zone(self, account: str) -> str:
        return self.zones.get(account, self.zone)


def policies(
    *,
    system: BudgetPolicy | None = None,
    account: BudgetPolicy | None = None,
    user: BudgetPolicy | None = None,
    key: BudgetPolicy | None = None,
    zone: str = "",
) -> FixedPolicies:
    """Policies without limits, except the given ones."""
    return FixedPolicies(
        of_system=system or BudgetPolicy(scope="system"),
        of_account=account or BudgetPolicy(scope="account", account="*"),
        of_user=user or BudgetPolicy(scope="user", account="*", name="*"),
        of_key=key or BudgetPolicy(scope="key", account="*", name="*"),
        zone=zone,
    )


def account_policy(limits: BudgetLimits | None = None, **fields: Any) -> BudgetPolicy:
    return BudgetPolicy(scope="account", account="*", limits=limits or BudgetLimits(), **fields)


def hold_request(number: int = 1, **fields: Any) -> HoldRequest:
    """A hold of user `anna` of account `shop` for 1 micro-dollar and 10 tokens."""
    account = fields.get("account", "shop")
    request = HoldRequest(
        id=f"{account}.app.{number}",
        account=account,
        user="anna",
        key="",
        role="chat",
        picousd=1_000_000,
        tokens=10,
        deadline_ms=2**50,
    )
    return structs.replace(request, **fields)


def usage_of(request: HoldRequest, attempt: int = 1, **fields: Any) -> UsageRecorded:
    """An attempt that completed the request and cost what was held, all of its tokens in the input."""
    usage = UsageRecorded(
        id=request.id.rpartition(".")[2],
        attempt=attempt,
        account=request.account,
        user=request.user,
        key=request.key,
        client="app",
        role=request.role,
        kind="embed" if request.traffic == "embed" else "chat",
        lane="interactive",
        complexity="simple",
        provider="simulator",
        model="sim-1",
        credential="main",
        outcome="completed",
        input_tokens=request.tokens,
        output_tokens=0,
        cost_picousd=request.picousd,
        hold_id=request.id,
        ends=True,
    )
    return structs.replace(usage, **fields)
