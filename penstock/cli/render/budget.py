"""The text of budgets: what is spent, held and left, the changed policies, and their history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from penstock.cli.render.prices import price_text
from penstock.cli.render.table import cell, table
from penstock.cli.render.terminal_safe import visible
from penstock.cli.render.times import utc_text
from penstock.contract.events import BudgetPolicyChanged, PriceChanged
from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.ledger.policies import BudgetPolicy
from penstock.contract.ledger.status import BudgetReport, BudgetStatus
from penstock.runtime.budgets.describe import amount_text, limit_text, policy_text, scope_text

__all__ = ["history_text", "policies_text", "refusing_limit_text", "report_text"]

_BAR: Final = 10
"""Characters of the bar of one limit."""
_FULL, _EMPTY = "█", "░"
_TITLES: Final = ("limit", "used", "", "spent", "held", "left", "of", "resets (UTC)")
_RIGHT: Final = frozenset({2, 3, 4, 5, 6})


def report_text(report: BudgetReport) -> str:
    """One scope: what it has spent, and a row for each of its limits."""
    status = report.status
    named = BudgetPolicy(scope=status.scope, account=status.account, name=status.name)
    tier = f" (tier {status.policy.tier})" if status.policy.tier else ""
    lines = [f"{visible(scope_text(named))}{tier}, {utc_text(report.at_ms)} UTC"]
    if status.policy.disabled:
        lines.append("  disabled: every request is refused")
    lines.append(f"  {_totals(status)}")
    if not status.limits:
        return "\n".join([*lines, "  no limits"])
    rows = [_row(limit) for limit in status.limits]
    return "\n".join([*lines, *(f"  {line}" for line in table(_TITLES, rows, right=_RIGHT).splitlines())])


def policies_text(policies: Sequence[BudgetPolicy]) -> str:
    if not policies:
        return "No budget was changed: what the catalogue says applies."
    rows = [
        (
            cell(scope_text(policy)),
            visible(policy_text(policy)),
            str(policy.version),
            cell(policy.changed_by),
            utc_text(policy.changed_ms),
            cell(policy.note),
        )
        for policy in policies
    ]
    return table(("budget of", "policy", "version", "changed by", "at (UTC)", "note"), rows)


def history_text(changes: Sequence[BudgetPolicyChanged | PriceChanged]) -> str:
    """One line for each change, and what it was before below it."""
    if not changes:
        return "No budget or price was changed in the last 30 days."
    return "\n".join(visible(line) for change in changes for line in _change_lines(change))


def refusing_limit_text(status: LimitStatus, *, fits_later: bool) -> str:
    """The limit that refused a request, on one line; when it resets, where the request fits then."""
    spent, held, allowed = (
        amount_text(status.limit, amount) for amount in (status.spent, status.held, status.allowed)
    )
    of = "the system" if status.scope == "system" else f"the {status.scope}"
    traffic = f", {status.traffic} only" if status.traffic else ""
    use = f"{spent} of {allowed} spent" + (f", {held} held by requests in progress" if status.held else "")
    resets = f"; resets at {utc_text(status.resets_at_ms)} UTC"
    until = resets if fits_later and status.resets_at_ms else ""
    return f"limit {limit_text(status.limit)} of {of}{traffic}: {use}{until}"


def _totals(status: BudgetStatus) -> str:
    money = [
        amount_text("microusd_", amount)
        for amount in (status.spent_today_microusd, status.spent_this_month_microusd, status.held_microusd)
    ]
    requests = "request" if status.open_holds == 1 else "requests"
    return (
        f"spent {money[0]} today, {money[1]} this month; {money[2]} held for {status.open_holds} {requests}"
    )


def _row(status: LimitStatus) -> tuple[str, ...]:
    name = limit_text(status.limit)
    traffic = f"{status.traffic}: " if status.traffic else ""
    used = status.spent + status.held
    share = 1.0 if status.allowed <= used else used / status.allowed
    filled = int(share * _BAR)
    amounts = (status.spent, status.held, status.left, status.allowed)
    return (
        f"{traffic}{name}{' (soft)' if status.soft else ''}",
        _FULL * filled + _EMPTY * (_BAR - filled),
        f"{int(share * 100)}%",
        *(amount_text(status.limit, amount) for amount in amounts),
        utc_text(status.resets_at_ms) if status.resets_at_ms else "-",
    )


def _change_lines(change: BudgetPolicyChanged | PriceChanged) -> tuple[str, str, str]:
    named = change.after or change.before
    if isinstance(named, BudgetPolicy):
        what, note = f"budget of {scope_text(named)}", named.note if change.after is not None else ""
    else:
        what, note = f"price of {'?' if named is None else named.model}", ""
    before, after = (_side(side) for side in (change.before, change.after))
    head = f"{utc_text(change.at_ms)}  {change.changed_by}  {what}{f'  ({note})' if note else ''}"
    return head, f"    before: {before}", f"    after:  {after}"


def _side(side: object) -> str:
    if side is None:
        return "none of its own"
    return policy_text(side) if isinstance(side, BudgetPolicy) else price_text(side.prices)  # type: ignore[attr-defined]
