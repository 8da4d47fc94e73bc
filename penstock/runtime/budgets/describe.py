"""Budget policies as text, for logs and tables."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from penstock.contract.events import BudgetAlerted
from penstock.contract.ledger.policies import EVERY, LIMIT_NAMES, TRAFFIC_CLASSES, BudgetLimits, BudgetPolicy
from penstock.runtime.config.budgets.section import UNLIMITED

__all__ = ["alert_text", "amount_text", "in_force_text", "limit_text", "policy_text", "scope_text"]

_MICRO_USD: Final = "microusd_"
_NOTHING: Final = "nothing of its own"
"""A policy that sets nothing: what is inherited applies."""


def scope_text(policy: BudgetPolicy) -> str:
    """What the policy is for: `the system`, `account shop`, `user ann of shop`, `every key`, `tier pro`."""
    scope, account, name = policy.scope, policy.account, policy.name
    if scope == "system":
        return "the system"
    if scope == "account":
        return "every account" if account == EVERY else f"account {account}"
    if scope == "tier":
        return f"tier {name}"
    of = "" if account == EVERY else f" of {account}"
    shown = name if name.isprintable() else ascii(name)  # an application may choose any text for a user
    return f"every {scope}{of}" if name == EVERY else f"{scope} {shown}{of}"


def alert_text(alert: BudgetAlerted) -> str:
    """One alert: `budget of user ann of shop: 80% of usd_per_day used ($8.05 of $10.00)`."""
    named = BudgetPolicy(scope=alert.scope, account=alert.account, name=alert.name)
    traffic = f"{alert.traffic}: " if alert.traffic else ""
    spent, allowed = (amount_text(alert.limit, amount) for amount in (alert.spent, alert.allowed))
    limit = f"{traffic}{limit_text(alert.limit)}"
    return f"budget of {scope_text(named)}: {alert.percent}% of {limit} used ({spent} of {allowed})"


def limit_text(name: str) -> str:
    """The name of a limit as it is configured: `usd_per_day` for `microusd_per_day`."""
    return f"usd_{name.removeprefix(_MICRO_USD)}" if name.startswith(_MICRO_USD) else name


def amount_text(name: str, amount: int) -> str:
    """An amount of the limit `name`: `$10.50`, `10,000`, `unlimited`."""
    if amount == UNLIMITED:
        return "unlimited"
    if not name.startswith(_MICRO_USD):
        return f"{amount:,}"
    dollars = Decimal(amount) / 1_000_000
    return f"${dollars:,.2f}" if amount % 10_000 == 0 else f"${dollars.normalize():,f}"


def policy_text(policy: BudgetPolicy | None) -> str:
    """The policy in one line; `nothing of its own` if there is none, or if it sets nothing."""
    if policy is None:
        return _NOTHING
    parts = ["disabled"] if policy.disabled else []
    parts += [f"tier {policy.tier}"] if policy.tier else []
    parts += _limits(policy.limits, policy.soft)
    for traffic in TRAFFIC_CLASSES:
        limits: BudgetLimits | None = getattr(policy, traffic)
        parts += [] if limits is None else [f"{traffic}: {part}" for part in _limits(limits, policy.soft)]
    parts += [f"{limit_text(name)} soft" for name in policy.soft if name not in _limited(policy)]
    parts += [f"time zone {policy.time_zone}"] if policy.time_zone else []
    return ", ".join(parts) or _NOTHING


def in_force_text(policy: BudgetPolicy) -> str:
    """A policy with everything that it inherits, in one line."""
    if _limited(policy):
        return policy_text(policy)
    parts = [] if policy_text(policy) == _NOTHING else [policy_text(policy)]
    return ", ".join([*parts, "no limits"])


def _limited(policy: BudgetPolicy) -> set[str]:
    """The limits that the policy has, for all traffic or for a part of it."""
    parts = (policy.limits, policy.chat, policy.embed, policy.background)
    return {
        name
        for name in LIMIT_NAMES
        if any(part is not None and getattr(part, name) is not None for part in parts)
    }


def _limits(limits: BudgetLimits, soft: tuple[str, ...]) -> list[str]:
    amounts = {name: amount for name in LIMIT_NAMES if (amount := getattr(limits, name)) is not None}
    return [
        f"{limit_text(name)} {amount_text(name, amount)}{' (soft)' if name in soft else ''}"
        for name, amount in amounts.items()
    ]
